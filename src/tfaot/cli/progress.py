"""Progress of a compilation: a line on a terminal, nothing but notes in a pipe."""

from __future__ import annotations

import time
from types import TracebackType

from rich import progress as bars
from rich.console import Console


class Progress:
    """Shows stage, detail and elapsed time while it is entered; call it to report a stage."""

    def __init__(self, quiet: bool) -> None:
        """Show nothing where `quiet`, or where standard error is no terminal."""
        self._console = Console(stderr=True)
        self._quiet = quiet
        self._shown = not quiet and self._console.is_terminal
        # Names of layers may hold brackets, which are no markup.
        self._bar = bars.Progress(
            bars.SpinnerColumn(),
            bars.TextColumn("{task.description}", markup=False),
            bars.TimeElapsedColumn(),
            console=self._console,
            transient=True,
            refresh_per_second=5,
        )
        self._task: bars.TaskID | None = None
        self._stage = ""
        self._stage_start = 0.0

    def __enter__(self) -> Progress:
        if self._shown:
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None)
        return self

    def __call__(self, stage: str, detail: str) -> None:
        """Report that `stage` is under way; a new stage leaves a line for the one before it.

        The stage "note" is none, but a line for the user, on a pipe too.
        """
        if stage == "note":
            if not self._quiet:
                self._console.print(
                    f"note: {detail}", markup=False, highlight=False, soft_wrap=True
                )
            return
        if self._task is None:
            return
        if stage != self._stage:
            self._finish_stage()
            self._stage, self._stage_start = stage, time.monotonic()
        self._bar.update(self._task, description=f"{stage}  {detail}" if detail else stage)

    def _finish_stage(self) -> None:
        if self._stage:
            seconds = time.monotonic() - self._stage_start
            line = f"{self._stage:<16} {seconds:6.1f} s"
            self._console.print(line, markup=False, highlight=False)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is None:
            return
        if kind is None:
            self._finish_stage()
        self._bar.stop()


class Bar:
    """A bar with what is being measured and the time that is left, while it is entered."""

    def __init__(self, quiet: bool) -> None:
        """Show nothing where `quiet`, or where standard error is no terminal."""
        self._console = Console(stderr=True)
        self._quiet = quiet
        self._shown = not quiet and self._console.is_terminal
        self._bar = bars.Progress(
            bars.SpinnerColumn(),
            bars.BarColumn(20),
            bars.TaskProgressColumn(),
            bars.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            bars.TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
            refresh_per_second=4,
        )
        self._task: bars.TaskID | None = None

    def __enter__(self) -> Bar:
        if self._shown:
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None)
        return self

    def __call__(self, text: str, done: int, total: int) -> None:
        """Report what is being done, and how much of how much is done (0 where not known)."""
        if self._task is not None:
            self._bar.update(self._task, description=text, completed=done, total=total or None)

    def note(self, text: str) -> None:
        """A line for the user, on a pipe too."""
        if not self._quiet:
            self._console.print(f"note: {text}", markup=False, highlight=False, soft_wrap=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            self._bar.stop()
