"""What every engine does: tell whether it is there, prepare a model's files, load them, run."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import TfaotError

if TYPE_CHECKING:
    from tfaot.engines.converter import Converter
    from tfaot.engines.files import ModelFiles

Array = NDArray[Any]


class EngineError(TfaotError):
    """An engine can't convert or run a model; the message names the engine and its reason."""


@dataclass(frozen=True)
class Availability:
    """Whether an engine can be used here.

    Attributes:
        version: its version, empty where it is missing.
        reason: why it can't be used, empty where it can.
        remedy: what to do, such as a line for the shell.
    """

    version: str = ""
    reason: str = ""
    remedy: str = ""

    def __bool__(self) -> bool:
        return not self.reason


class BoundCall:
    """A call of a model on fixed inputs, as cheap as the engine makes it.

    Attributes:
        call: evaluates the model once.
        results: the outputs of the last call, in order; they may be overwritten by the next.
        once: makes one call and tells its wall-clock seconds.
    """

    def __init__(
        self,
        call: Callable[[], object],
        results: Callable[[], Sequence[Array]],
        *,
        loop: Callable[[int], float] | None = None,
        kept: Sequence[object] = (),
    ) -> None:
        """Make the call.

        Args:
            call: evaluates the model once.
            results: gives the outputs of the last call.
            loop: CPU seconds that a number of calls take, where Python is not to be measured.
            kept: objects that must live as long as the call.
        """
        self.call = call
        self.results = results
        self.once: Callable[[], float] = self._wall_seconds
        self._loop = loop
        self._kept = kept

    def run(self) -> list[Array]:
        """Evaluate the model; copies of its outputs, in order."""
        self.call()
        return [np.array(result) for result in self.results()]

    def seconds(self, calls: int) -> float:
        """CPU seconds of this process, all threads together, that `calls` calls take."""
        if self._loop is not None:
            return self._loop(calls)
        call, turns = self.call, repeat(None, calls)
        start = time.process_time()
        for _ in turns:
            call()
        return time.process_time() - start

    def _wall_seconds(self) -> float:
        start = time.perf_counter()
        self.call()
        return time.perf_counter() - start


class Runner(ABC):
    """A loaded model."""

    @abstractmethod
    def bind(self, inputs: Sequence[Array]) -> BoundCall:
        """A call on `inputs` (C-contiguous, of the exact types), in the order of the model's.

        Raises:
            EngineError: the engine can't evaluate the model at this batch size.
        """


class Engine(ABC):
    """An engine on one thread, with float32 arithmetic and its default optimisations.

    Attributes:
        name: identifier, as in `tfaot.engines.ENGINES`.
        title: name for people.
        color: of its curve in plots.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    color: ClassVar[str] = "#444444"

    @abstractmethod
    def availability(self) -> Availability:
        """Whether it can be used here, and its version."""

    def supports(self, batch: int) -> bool:
        """Whether the engine is to be tried at this batch size."""
        return batch >= 1

    @abstractmethod
    def prepare(self, files: ModelFiles, batches: Sequence[int], converter: Converter) -> None:
        """Make the files from which `load` loads; what is there already is kept.

        Raises:
            EngineError: the model can't be converted.
        """

    @abstractmethod
    def load(self, files: ModelFiles) -> Runner:
        """Load the prepared model: only the engine's runtime is imported.

        Raises:
            EngineError: it can't be loaded.
        """


@contextmanager
def reported(title: str) -> Iterator[None]:
    """What another project's code raises, as an EngineError in one line that names the engine."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"{title}: {describe_error(error)}") from error


def tensorflow_availability(title: str) -> Availability:
    """Whether `tensorflow` can be imported, whatever its package is called."""
    found = packages_availability(title, ["tensorflow"], ["tensorflow"])
    return found if found else replace(found, remedy="pip install 'tfaot[tensorflow]'")


def packages_availability(
    title: str, modules: Sequence[str], packages: Sequence[str]
) -> Availability:
    """Whether modules can be found (none is imported), with the versions of their packages."""
    missing = [
        package
        for module, package in zip(modules, packages, strict=True)
        if not _can_be_found(module)
    ]
    if missing:
        return Availability(
            reason=f"{title} is not installed",
            remedy=f"pip install {' '.join(missing)}",
        )
    return Availability(version=package_version(packages[0]))


def package_version(package: str) -> str:
    """The version of an installed package, which TensorFlow is under several names."""
    for name in (package, f"{package}-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def _can_be_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is a part of is not there
        return False


def describe_error(error: BaseException | str, limit: int = 300) -> str:
    """An exception of another project's code, or what it wrote, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
