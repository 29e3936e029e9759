"""The driver of reports: collects, renders, and writes the page, all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from tfaot.errors import UsageError
from tfaot.reporting.collect import Progress, Request, collect


def check_output(output: Path) -> None:
    """UsageError where `output` can't be a file that is written; call it before long work."""
    if output.is_dir():
        raise UsageError(f"'{output}' is a folder: give the report's file (-o report.html)")
    folder = output.parent
    if not folder.is_dir():
        raise UsageError(f"can't write '{output}': there is no folder '{folder}' (-o)")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"can't write '{output}': no permission in '{folder}' (-o)")


def write_report(
    request: Request, output: Path, progress: Progress = lambda stage, detail: None
) -> Path:
    """Write the report of an artifact.

    Args:
        request: the artifact, and what to run.
        output: the HTML file; one that is there is replaced.
        progress: told of what takes time.

    Returns:
        `output`.

    Raises:
        TfaotError: the artifact or the model can't be read, or the file can't be written.
    """
    check_output(output)
    facts = collect(request, progress)
    from tfaot.reporting.page import render  # here, so that a wrong path is told without templates

    progress("write", str(output))
    _replace(output, render(facts).encode("utf-8", "replace"))
    return output


def _replace(output: Path, content: bytes) -> None:
    umask = os.umask(0)
    os.umask(umask)
    temporary = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{output.name}-", dir=output.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(output)
        temporary = None
    except OSError as error:
        raise UsageError(f"can't write '{output}': {error.strerror}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
