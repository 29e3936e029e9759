"""Profiling: what models cost in time and memory, in tfaot and other engines, kernel by kernel.

Input: models, artifacts, engines. Output: typed results, CSV, JSON and plots.
"""
