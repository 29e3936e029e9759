"""Sessions with TensorFlow: a worker process that loads, lowers and evaluates models.

Input: a model's path or a Python object. Output: `LoadedModel`, which gives the signature and the
optimised HLO per batch size. TensorFlow is never imported into the calling process, unless a
Python object of TensorFlow's is passed in.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tfaot import errors
from tfaot.errors import InputError, ModelError, TfaotError, UsageError
from tfaot.frontend.arrays import checked_array
from tfaot.frontend.bounded import padded_results
from tfaot.frontend.environment import worker_environment
from tfaot.frontend.exported import export
from tfaot.frontend.messages import last_words
from tfaot.frontend.model_description import Description
from tfaot.frontend.protocol import ClosedError, Failure, Request, receive, send
from tfaot.frontend.source import ModelSource, model_kind, model_root
from tfaot.frontend.survey_data import Attempt, SurveyReply
from tfaot.frontend.weights import attach
from tfaot.ir.module import Module
from tfaot.ir.proto import read_module
from tfaot.mapped import map_array
from tfaot.options import EXTERNAL, CompileOptions
from tfaot.signature import Signature

__all__ = [
    "LoadedModel",
    "ModelSource",
    "SurveyedModel",
    "TensorFlowSession",
    "open_model",
    "open_with",
]

_STDERR_TAIL = 64 * 1024
_GRACE_SECONDS = 2.0


class TensorFlowSession:
    """A worker process with TensorFlow; a context manager that ends it.

    Any number of models can be loaded, by any thread; calls run one at a time. The worker starts
    importing TensorFlow at once, in parallel to whatever the caller does until it needs it.
    """

    def __init__(
        self,
        xla_flags: Sequence[str] = (),
        tf_xla_flags: Sequence[str] = (),
        *,
        keep_scatter: bool = False,
        keep_constants: bool = False,
    ) -> None:
        """Start the worker.

        Args:
            xla_flags: flags for XLA (`--xla_name=value`), in addition to those in XLA_FLAGS.
            tf_xla_flags: flags for TensorFlow's XLA bridge, in addition to TF_XLA_FLAGS.
            keep_scatter: start with the flags that models with scatter need; by default a second
                worker with them is started when the first such model is lowered.
            keep_constants: start with the flags by which TensorFlow folds no constants; by default
                another worker with them is started when the first model is lowered so.
        """
        environment = worker_environment(
            xla_flags, tf_xla_flags, keep_scatter=keep_scatter, keep_constants=keep_constants
        )
        self._flags = (tuple(xla_flags), tuple(tf_xla_flags))
        self._keeps_constants = keep_constants
        self._twin: TensorFlowSession | None = None
        self._unfolding: TensorFlowSession | None = None
        self._lock = threading.RLock()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        # TensorFlow leaves generated sources behind where a process ends at once.
        self._scratch = tempfile.TemporaryDirectory(prefix="tfaot-", ignore_cleanup_errors=True)
        environment["TMPDIR"] = self._scratch.name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tfaot.frontend.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment,
        )

    def __enter__(self) -> TensorFlowSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker; models loaded by it can't be used any more."""
        for other in (self._twin, self._unfolding):
            if other is not None:
                other.close()
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._stderr.close()
        self._scratch.cleanup()

    def load(self, source: ModelSource) -> LoadedModel:
        """Load and freeze a model and find its signature.

        Raises:
            ModelError: it can't be read, or an input's shape has to be given.
            UsageError: an option of `source` does not fit the model.
            UnsupportedError: it holds what can't be compiled.
        """
        located = _located(source)
        number, description = self.call("load", source=located)
        return LoadedModel(self, number, description, located)

    def survey(self, source: ModelSource) -> SurveyedModel:
        """A model's graph op by op, loaded or not.

        Raises:
            ModelError, UsageError: as `load`.
        """
        located = _located(source)
        return SurveyedModel(self, self.call("survey", source=located), located)

    def kernels(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The ops that XLA has a kernel for, and per type attribute the types that it takes.

        An attribute without types takes all that the op itself does.
        """
        found: dict[str, dict[str, tuple[str, ...]]] = self.call("kernels")
        return found

    def versions(self) -> dict[str, str]:
        """Versions of TensorFlow and Keras."""
        found: dict[str, str] = self.call("versions")
        return found

    def keeping_scatter(self) -> TensorFlowSession:
        """The session whose worker leaves scatter whole, started when first asked for."""
        with self._lock:
            if self._twin is None:
                self._twin = TensorFlowSession(
                    *self._flags, keep_scatter=True, keep_constants=self._keeps_constants
                )
            return self._twin

    def keeping_constants(self) -> TensorFlowSession:
        """The session whose worker folds no constants, started when first asked for."""
        with self._lock:
            if self._keeps_constants:
                return self
            if self._unfolding is None:
                self._unfolding = TensorFlowSession(*self._flags, keep_constants=True)
            return self._unfolding

    def weight(self, model: int, number: int) -> NDArray[Any]:
        """A weight that a model's HLO takes as an argument, read-only, mapped from a file.

        Raises:
            UsageError: the disk of temporary files is full.
        """
        path = Path(self._scratch.name) / "weight"
        with self._lock:  # until the file is ours, it has the name that the next one gets
            described = self.call("weight", model=model, number=number, path=str(path))
            return map_array(path, described)

    def resident_bytes(self) -> int:
        """Resident memory of the worker process, in bytes."""
        return int(self.call("resident_bytes"))

    def call(self, verb: str, **arguments: Any) -> Any:
        """Call a function of the worker; its errors are raised here."""
        with self._lock:
            reply = self._exchange(Request(verb, arguments))
        if not isinstance(reply, Failure):
            return reply.value
        kind = getattr(errors, reply.kind, None) if reply.kind else None
        if isinstance(kind, type) and issubclass(kind, TfaotError):
            raise kind(reply.message)
        raise RuntimeError(f"the TensorFlow worker failed: {reply.message}\n{reply.traceback}")

    def _exchange(self, request: Request) -> Any:
        process = self._process
        if process.stdin is None or process.stdin.closed:
            raise UsageError("the TensorFlow session is closed: open the model again")
        assert process.stdout is not None
        try:
            send(process.stdin, request)
            return receive(process.stdout)
        except (BrokenPipeError, ClosedError):
            raise self._death() from None
        except BaseException:
            # Interrupted between request and reply: what comes next would be the wrong answer.
            process.kill()
            raise

    def _death(self) -> TfaotError:
        code = self._process.wait()
        self._stderr.seek(0, 2)
        self._stderr.seek(max(0, self._stderr.tell() - _STDERR_TAIL))
        words = last_words(self._stderr.read().decode(errors="replace"))
        if "XLA_FLAGS" in words:
            return UsageError(f"--xla-flags: {words}")
        if code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        else:
            how = f"ended with status {code}"
        return ModelError(f"the TensorFlow process {how}" + (f": {words}" if words else ""))


class LoadedModel:
    """A model in a session's worker.

    Attributes:
        signature: inputs and outputs with types and dimensions, `BatchDim(1)` the batch axis.
        parameter_count: elements of the constants that the frozen inference graph uses.
        parameter_bytes: their bytes.
        digest: SHA-256 of the model's content, whatever its path and machine.
        versions: of TensorFlow and Keras.
        notes: lines that tell what was decided for the user, and how to decide otherwise.
    """

    def __init__(
        self,
        session: TensorFlowSession,
        number: int,
        description: Description,
        source: ModelSource,
    ) -> None:
        self._session = session
        self._source = source
        self._twin: LoadedModel | None = None
        self._unfolded: LoadedModel | None = None
        self._number = number
        self.signature: Signature = description.signature
        self.parameter_count: int = description.parameter_count
        self.parameter_bytes: int = description.parameter_bytes
        self.digest: str = description.digest
        self.versions: dict[str, str] = dict(description.versions)
        self.notes: tuple[str, ...] = description.notes
        self._weight_names = description.weights
        self._weights: list[NDArray[Any]] | None = None

    def module(self, batch: int | None) -> Module:
        """The optimised HLO at one batch size: its parameters are the model's inputs.

        Args:
            batch: the batch size; None for a model without a batch axis.

        Raises:
            UnsupportedError: XLA can't compile it; the message names the ops and their nodes.
        """
        module = read_module(self.lower(batch))
        if self._weights is None:
            numbers = range(len(self._weight_names))
            self._weights = [self._session.weight(self._number, number) for number in numbers]
        origins = self._weight_names if self._source.external_weights else ()
        return attach(module, self._weights, origins)

    def unfolded(self) -> LoadedModel:
        """The same model in a worker that folds no constants."""
        if self._unfolded is None:
            self._unfolded = self._session.keeping_constants().load(self._source)
        return self._unfolded

    def lower(self, batch: int | None) -> bytes:
        """The optimised HLO at one batch size, as a serialized HloModuleProto.

        A large model's weights are further parameters of it, after the inputs; `module` puts them
        back.

        Args:
            batch: the batch size; None for a model without a batch axis.

        Raises:
            UnsupportedError: XLA can't compile it; the message names the ops and their nodes.
        """
        if self.signature.has_batch and batch is None:
            raise UsageError("the model has a batch axis: give a batch size to lower it at")
        if batch is not None and batch < 0:
            raise UsageError(f"the batch size must be 0 or more, not {batch}")
        if not self.signature.has_batch:
            batch = None
        if self._twin is not None:
            return self._twin.lower(batch)
        result: bytes | None = self._session.call("lower", model=self._number, batch=batch)
        if result is not None:
            return result
        self._twin = self._session.keeping_scatter().load(self._source)
        return self._twin.lower(batch)

    def evaluate(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs of plain TensorFlow (no XLA, one thread) for arrays in signature order.

        Those whose size depends on the data are filled with zeros, and followed by their size.

        Raises:
            InputError: an array's type or shape is not the signature's.
        """
        arrays, batch = self._checked(inputs)
        results: list[NDArray[Any]] = self._session.call(
            "evaluate", model=self._number, inputs=arrays
        )
        return padded_results(results, self.signature.outputs, batch)

    def time(
        self, inputs: Sequence[NDArray[Any]], repetitions: int = 100, warmup: int = 10
    ) -> list[float]:
        """Seconds of each call of the frozen function in TensorFlow, on one thread."""
        arrays, _ = self._checked(inputs)
        result: list[float] = self._session.call(
            "time", model=self._number, inputs=arrays, repetitions=repetitions, warmup=warmup
        )
        return result

    def resident_bytes(self) -> int:
        """Resident memory of the worker process (TensorFlow and all its models), in bytes."""
        return self._session.resident_bytes()

    def close(self) -> None:
        """Free the model in the worker."""
        self._session.call("forget", model=self._number)
        for other in (self._twin, self._unfolded):
            if other is not None and other is not self:
                other.close()

    def _checked(self, inputs: Sequence[NDArray[Any]]) -> tuple[list[NDArray[Any]], int]:
        """The arrays, contiguous, and their batch size (0 without a batch axis)."""
        specs = self.signature.inputs
        if len(inputs) != len(specs):
            names = ", ".join(spec.name for spec in specs) or "none"
            raise InputError(f"{len(inputs)} arrays given for {len(specs)} inputs ({names})")
        batches: dict[int, str] = {}
        arrays = [
            checked_array(np.asarray(array), spec, batches)
            for array, spec in zip(inputs, specs, strict=True)
        ]
        return arrays, next(iter(batches), 0)


class SurveyedModel:
    """A model's graph in a session's worker, as far as it could be loaded.

    Attributes:
        reply: the ops, and why the model is refused, where it is.
        loaded: the model, where it could be loaded.
    """

    def __init__(self, session: TensorFlowSession, reply: SurveyReply, source: ModelSource) -> None:
        self._session = session
        self.reply = reply
        self.loaded: LoadedModel | None = None
        if reply.model is not None:
            self.loaded = LoadedModel(session, *reply.model, source)

    def attempt(self, cut: Collection[str]) -> Attempt:
        """Lower what is left of the graph without some of its nodes, at one batch size."""
        attempt: Attempt = self._session.call(
            "attempt", survey=self.reply.number, cut=tuple(sorted(cut))
        )
        return attempt

    def close(self) -> None:
        """Free the graph, and the model, in the worker."""
        self._session.call("forget_survey", survey=self.reply.number)
        if self.loaded is not None:
            self.loaded.close()


def _located(source: ModelSource) -> ModelSource:
    """The source with the model's own absolute path; ModelError where there is no model."""
    absolute = model_root(source.path).absolute()
    model_kind(absolute)
    return replace(source, path=absolute)


@contextlib.contextmanager
def open_model(
    model: object,
    *,
    signature: str | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    input_shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    set_values: Mapping[str, object] | None = None,
    custom_objects: Mapping[str, object] | Sequence[str] = (),
    xla_flags: Sequence[str] = (),
    tf_xla_flags: Sequence[str] = (),
    external_weights: bool = False,
    session: TensorFlowSession | None = None,
) -> Iterator[LoadedModel]:
    """Load a model for the duration of a `with` block.

    Args:
        model: a path, or a Keras model, tf.function, ConcreteFunction or tf.Module.
        signature: as in `ModelSource`, like the following four.
        inputs: nodes of a frozen graph.
        outputs: nodes of a frozen graph.
        input_shapes: dimensions per input.
        set_values: values of placeholders that are fixed.
        custom_objects: `module:name` texts, or the objects themselves by name (a Keras file is then
            loaded in this process, which imports TensorFlow).
        xla_flags: as in `TensorFlowSession`.
        tf_xla_flags: as in `TensorFlowSession`.
        external_weights: whether code must not depend on the values of weights.
        session: a running session to use; by default one is started, and ended with the block.

    Raises:
        TfaotError: as `TensorFlowSession.load`.
    """
    with contextlib.ExitStack() as stack:
        check_model_path(model)
        running = session or stack.enter_context(TensorFlowSession(xla_flags, tf_xla_flags))
        source = stack.enter_context(
            model_source(
                model,
                signature=signature,
                inputs=inputs,
                outputs=outputs,
                input_shapes=input_shapes,
                set_values=set_values,
                custom_objects=custom_objects,
                external_weights=external_weights,
            )
        )
        loaded = running.load(source)
        try:
            yield loaded
        finally:
            if session is not None:
                loaded.close()


def open_with(
    model: object, options: CompileOptions, session: TensorFlowSession | None = None
) -> AbstractContextManager[LoadedModel]:
    """`open_model` with what the options of a compilation say of the model."""
    return open_model(
        model,
        signature=options.signature,
        inputs=options.inputs,
        outputs=options.outputs,
        input_shapes=options.input_shapes,
        set_values=options.set_values,
        custom_objects=options.custom_objects,
        xla_flags=options.xla_flags,
        tf_xla_flags=options.tf_xla_flags,
        external_weights=options.weights == EXTERNAL,
        session=session,
    )


def check_model_path(model: object) -> None:
    """Tell of a wrong path before a process is started for it; ModelError."""
    if isinstance(model, (str, Path)):
        model_kind(model_root(Path(model)))


@contextlib.contextmanager
def model_source(
    model: object,
    *,
    signature: str | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    input_shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    set_values: Mapping[str, object] | None = None,
    custom_objects: Mapping[str, object] | Sequence[str] = (),
    external_weights: bool = False,
    refused: bool = False,
) -> Iterator[ModelSource]:
    """The arguments of `open_model` as a source; a Python object is on disk within the block.

    With `refused`, an object that can't be frozen is exported too.
    """
    with contextlib.ExitStack() as stack:
        own = isinstance(custom_objects, Mapping) and bool(custom_objects)
        is_path = isinstance(model, (str, Path))
        path = Path(str(model)) if is_path else Path()
        if not is_path or own:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tfaot-")))
            objects = custom_objects if isinstance(custom_objects, Mapping) else {}
            export(model, path, objects, refused=refused)
        yield ModelSource(
            path,
            signature,
            tuple(inputs),
            tuple(outputs),
            {name: tuple(dims) for name, dims in (input_shapes or {}).items()},
            dict(set_values or {}),
            () if isinstance(custom_objects, Mapping) else tuple(custom_objects),
            external_weights,
        )
