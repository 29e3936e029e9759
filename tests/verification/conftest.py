"""Artifacts made from HLO text, and a model in place of TensorFlow's that evaluates HLO."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from numpy.typing import NDArray

from tfaot.artifact import write_artifact
from tfaot.codegen.target import resolve_targets
from tfaot.compiler import Lowered, Origin, build
from tfaot.errors import ModelError
from tfaot.interpreter.evaluate import evaluate
from tfaot.ir.module import Module
from tfaot.ir.text import parse_module
from tfaot.options import CompileOptions
from tfaot.packaging.manifest import Source
from tfaot.signature import Signature, TensorSpec
from tfaot.symbolic import specialise
from tfaot.verification import verify_model
from tfaot.verification.report import VerificationReport


@dataclass
class HloModel:
    """Has what verification asks of a model loaded in TensorFlow.

    Attributes:
        module: what it evaluates, in the model's types.
        refuses: whether inputs are refused, as TensorFlow refuses indices past a table's end.
        calls: how often it was evaluated.
    """

    module: Module
    refuses: Callable[[Sequence[NDArray]], bool] = lambda inputs: False
    calls: int = 0

    @property
    def signature(self) -> Signature:
        entry = self.module.entry
        return Signature(
            tuple(
                TensorSpec(f"x{n}", p.array.dtype, p.array.dims)
                for n, p in enumerate(entry.parameters)
            ),
            tuple(
                TensorSpec(f"y{n}", o.array.dtype, o.array.dims)
                for n, o in enumerate(self.module.outputs)
            ),
        )

    def evaluate(self, inputs: Sequence[NDArray]) -> list[NDArray]:
        self.calls += 1
        if self.refuses(inputs):
            raise ModelError("indices[0] = 9 is not in [0, 5)")
        return evaluate(self.module, inputs)


@pytest.fixture
def hlo() -> Callable[[str], Module]:
    """A module from the lines of its entry computation; `B` in shapes is the batch size."""

    def make(body: str) -> Module:
        lines = "\n".join(f"  {line.strip()}" for line in body.strip().splitlines())
        return parse_module(f"HloModule m\n\n{_REDUCERS}\nENTRY main {{\n{lines}\n}}\n")

    return make


_REDUCERS = """\
add (a: f32[], b: f32[]) -> f32[] {
  a = f32[] parameter(0)
  b = f32[] parameter(1)
  ROOT s = f32[] add(a, b)
}
"""


def _for(module: Module, static: tuple[int, ...]) -> Lowered:
    if not static:
        return Lowered((module,), (None,))
    modules = tuple(specialise(module, size) for size in static)
    return Lowered(modules, static, "asked", symbolic=module)


@pytest.fixture
def verified(tmp_path: Path) -> Callable[..., VerificationReport]:
    """Compile one module, and verify it against another (by default itself)."""

    def run(
        compiled: Module,
        model: Module | None = None,
        loaded: HloModel | None = None,
        static: tuple[int, ...] = (),
    ) -> VerificationReport:
        loaded = loaded or HloModel(model or compiled)
        target = resolve_targets("x86-64-v3")
        options = CompileOptions(tmp_path, name="m")
        made = build(
            "m",
            HloModel(compiled).signature,
            _for(compiled, static),
            target,
            options,
            Origin(Source("hlo", "")),
        )
        artifact = write_artifact(tmp_path, "m", made.header, made.object, made.manifest, {})
        lowered = _for(loaded.module, static)
        return verify_model(artifact.manifest, loaded, lowered, lambda stage, detail: None)

    return run


@pytest.fixture
def hlo_model() -> type[HloModel]:
    return HloModel
