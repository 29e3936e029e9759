"""A report of an artifact: one self-contained page.

Input: an artifact, and its model where kernels are to be timed. Output: an HTML file that needs no
network, and can be read without JavaScript.
"""

from __future__ import annotations

from tfaot.reporting.write import write_report

__all__ = ["write_report"]
