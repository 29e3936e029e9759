"""Conversions that need TensorFlow, done in a process of its own: it is started when first asked.

So the process that measures holds no more than the engines' runtimes, and XLA's flags for tfcompile
change nothing for TensorFlow itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tfaot.engines.files import DESCRIPTION, GRAPH, ModelFiles, Origin, read_files
from tfaot.engines.protocol import EngineError

if TYPE_CHECKING:
    from tfaot.frontend.session import TensorFlowSession

XLA_FLAGS = (
    # The library that XLA would hand dots to can't be used ahead of time.
    "--xla_cpu_experimental_ynn_fusion_type=",
    "--xla_cpu_multi_thread_eigen=false",
)


class Converter:
    """A process with TensorFlow that freezes and converts models; a context manager."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._session: TensorFlowSession | None = None

    def __enter__(self) -> Converter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        if self._session is not None:
            self._session.close()
            self._session = None
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def session(self) -> TensorFlowSession:
        """The session that tfaot compiles with, in another process of its own."""
        if self._session is None:
            from tfaot.frontend.session import TensorFlowSession

            self._session = TensorFlowSession()
        return self._session

    def call(self, verb: str, **arguments: Any) -> Any:
        """Call a function of `tfaot.engines.conversions`.

        Raises:
            EngineError: it failed; the message is its reason.
        """
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"verb": verb, "arguments": arguments}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BaseException:
            # Interrupted between request and reply: what comes next would be the wrong answer.
            process.kill()
            self._process = None
            raise
        if not line:
            self._process = None
            raise EngineError(f"the converting process ended with status {process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise EngineError(reply["error"])
        return reply["value"]

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tfaot.engines.conversions"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=converter_environment(os.environ),
                text=True,
            )
        return self._process


def converter_environment(base: Mapping[str, str]) -> dict[str, str]:
    """The environment of the process."""
    flags = [*base.get("XLA_FLAGS", "").split(), *XLA_FLAGS]
    return {
        **base,
        "XLA_FLAGS": " ".join(flags),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(p for p in sys.path if p)),
    }


def freeze_model(
    origin: Origin, folder: Path, converter: Converter, target: str = "native"
) -> ModelFiles:
    """The frozen model in `folder`, made there unless it is there; `target` is tfaot's.

    Raises:
        EngineError: the model can't be loaded or frozen.
    """
    if not ((folder / GRAPH).exists() and (folder / DESCRIPTION).exists()):
        folder.mkdir(parents=True, exist_ok=True)
        converter.call("freeze", folder=str(folder), origin=asdict(origin))
    files = read_files(folder)
    if files.target != target:
        files = replace(files, target=target)
        files.write()
    return files
