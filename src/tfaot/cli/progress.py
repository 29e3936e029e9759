"""Progress of a compilation: a line on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.status import Status


class Progress:
    """Shows stage, detail and elapsed time while it is entered; call it to report a stage."""

    def __init__(self, quiet: bool) -> None:
        """Show nothing where `quiet`, or where standard error is no terminal."""
        self._console = Console(stderr=True)
        self._shown = not quiet and self._console.is_terminal
        self._status: Status | None = None
        self._start = self._stage_start = time.monotonic()
        self._stage = ""

    def __enter__(self) -> Progress:
        if self._shown:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __call__(self, stage: str, detail: str) -> None:
        """Report that `stage` is under way; a new stage leaves a line for the one before it."""
        if self._status is None:
            return
        if stage != self._stage:
            self._finish_stage()
            self._stage, self._stage_start = stage, time.monotonic()
        text = f"{stage}  {detail}" if detail else stage
        elapsed = time.monotonic() - self._start
        self._status.update(_plain(f"{text}  ({elapsed:.1f} s)"))

    def _finish_stage(self) -> None:
        if self._stage:
            seconds = time.monotonic() - self._stage_start
            self._console.print(
                f"{self._stage:<12} {seconds:6.1f} s", markup=False, highlight=False
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is None:
            return
        self._status.stop()
        if kind is None:
            self._finish_stage()
        sys.stderr.flush()


def _plain(text: str) -> str:
    """`text` with nothing that rich takes for markup (layer names may hold brackets)."""
    return text.replace("[", "\\[")
