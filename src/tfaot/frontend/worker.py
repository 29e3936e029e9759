"""The worker process: `python -m tfaot.frontend.worker`, started by a session.

Input: requests on standard input. Output: replies on what was standard output; whatever
TensorFlow or a model's code prints goes to standard error, which the session keeps.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from tfaot.errors import TfaotError
from tfaot.frontend import tensorflow, xla
from tfaot.frontend.model import Model
from tfaot.frontend.model_description import Description
from tfaot.frontend.protocol import ClosedError, Failure, Request, Success, receive, send
from tfaot.frontend.source import ModelSource
from tfaot.frontend.survey import Survey
from tfaot.frontend.survey_data import Attempt, SurveyReply
from tfaot.mapped import ArrayFile, write_array


class Worker:
    """The functions that a session can call, by their names."""

    def __init__(self) -> None:
        self._models: dict[int, Model] = {}
        self._surveys: dict[int, Survey] = {}
        self._next = 0

    def load(self, source: ModelSource) -> tuple[int, Description]:
        """Load a model; the number stands for it in later calls."""
        model = Model(source)
        self._next += 1
        self._models[self._next] = model
        return self._next, model.description

    def lower(self, model: int, batch: int | None) -> bytes | None:
        """`Model.lower`."""
        return self._models[model].lower(batch)

    def survey(self, source: ModelSource) -> SurveyReply:
        """The model's ops; it is loaded too where it can be."""
        survey = Survey(source)
        self._next += 1
        number = self._next
        self._surveys[number] = survey
        loaded = None
        if survey.model is not None:
            self._next += 1
            self._models[self._next] = survey.model
            loaded = (self._next, survey.model.description)
        inputs, outputs = survey.interface()
        return SurveyReply(
            number,
            tuple(survey.nodes()),
            survey.layers,
            inputs,
            outputs,
            tensorflow.versions(),
            survey.refusal,
            loaded,
        )

    def attempt(self, survey: int, cut: Sequence[str]) -> Attempt:
        """`Survey.attempt`."""
        return self._surveys[survey].attempt(frozenset(cut))

    def kernels(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The ops that XLA has a kernel for, with their types."""
        return xla.kernels()

    def versions(self) -> dict[str, str]:
        """Versions of TensorFlow and Keras."""
        return tensorflow.versions()

    def weight(self, model: int, number: int, path: str) -> ArrayFile:
        """`Model.weight`, in a file: through a pipe it would be in memory several times."""
        return write_array(Path(path), self._models[model].weight(number))

    def evaluate(self, model: int, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """`Model.evaluate`."""
        return self._models[model].evaluate(inputs)

    def time(
        self, model: int, inputs: Sequence[NDArray[Any]], repetitions: int, warmup: int
    ) -> list[float]:
        """`Model.time`."""
        return self._models[model].time(inputs, repetitions, warmup)

    def forget(self, model: int) -> None:
        """Free a model."""
        self._models.pop(model, None)

    def forget_survey(self, survey: int) -> None:
        """Free a survey."""
        self._surveys.pop(survey, None)

    def resident_bytes(self) -> int:
        """Resident memory of this process, in bytes."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until the session closes the pipe or ends."""
    incoming: queue.Queue[Request] = queue.Queue()
    threading.Thread(target=_read, args=(requests, incoming), daemon=True).start()
    # Importing TensorFlow takes seconds: it begins before the first request is there.
    missing: TfaotError | None = None
    try:
        tensorflow.prepare()
    except TfaotError as error:
        missing = error
    worker = Worker()
    while True:
        request = incoming.get()
        try:
            if missing is not None:
                raise missing
            value = getattr(worker, request.verb)(**request.arguments)
            reply: Success | Failure = Success(value)
        except TfaotError as error:
            reply = Failure(type(error).__name__, str(error))
        except Exception as error:
            # A fault of ours: the session shows it whole, and this process stays usable.
            reply = Failure("", f"{type(error).__name__}: {error}", traceback.format_exc())
        try:
            send(replies, reply)
        except BrokenPipeError:
            return


def main() -> None:
    """Serve on the standard streams."""
    # Ctrl-C is the session's to handle: it ends this process by closing the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    serve(requests, replies)


def _read(requests: BinaryIO, incoming: queue.Queue[Request]) -> None:
    """Queue requests; when the pipe closes, end the process whatever it is doing."""
    while True:
        try:
            incoming.put(receive(requests))
        except ClosedError:
            sys.stderr.flush()
            os._exit(0)


if __name__ == "__main__":
    main()
