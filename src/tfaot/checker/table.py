"""Every op that works: TensorFlow's by its registry of kernels, XLA's by generating their code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tfaot.checker.generation import try_generation
from tfaot.frontend.graph import refused_kind
from tfaot.frontend.session import TensorFlowSession
from tfaot.ir.attributes import CustomCall
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Module
from tfaot.ir.printer import print_module
from tfaot.ir.text import parse_module
from tfaot.testing.cases import OpCase, op_cases


@dataclass(frozen=True)
class TensorFlowOp:
    """A TensorFlow op that XLA has a kernel for.

    Attributes:
        name: the op.
        types: per type attribute the types that the kernel takes; none: all that the op does.
        refused: why tfaot refuses it all the same; empty where it doesn't.
    """

    name: str
    types: tuple[tuple[str, tuple[str, ...]], ...]
    refused: str


@dataclass(frozen=True)
class SupportTable:
    """What works.

    Attributes:
        tensorflow: TensorFlow's ops.
        xla: per XLA op and type whether code is generated.
        version: TensorFlow's.
    """

    tensorflow: tuple[TensorFlowOp, ...]
    xla: dict[str, dict[DType, bool]]
    version: str


def support_table(session: TensorFlowSession | None = None) -> SupportTable:
    """What works with the installed TensorFlow and this code generator.

    Raises:
        UsageError: TensorFlow is not installed.
    """
    if session is None:
        with TensorFlowSession() as running:
            return support_table(running)
    ops = []
    for name, types in session.kernels().items():
        kind = refused_kind(name)
        refused = kind.value if kind is not None else ""
        ops.append(TensorFlowOp(name, tuple(types.items()), refused))
    return SupportTable(tuple(ops), supported(op_cases()), session.versions()["tensorflow"])


def supported(
    cases: Iterable[OpCase], compiles: Callable[[Module], bool] | None = None
) -> dict[str, dict[DType, bool]]:
    """Per op (opcode, and a custom-call's target) and type whether its smallest case compiles.

    Args:
        cases: of the ops.
        compiles: what tells for a module; by default, code is generated up to LLVM IR.
    """
    compiles = compiles or _generates
    first: dict[tuple[str, DType], OpCase] = {}
    for case in cases:
        if case.error is None:
            first.setdefault((_op(case), case.dtype), case)
    result: dict[str, dict[DType, bool]] = defaultdict(dict)
    for (opcode, dtype), case in first.items():
        result[opcode][dtype] = compiles(case.module())
    return dict(result)


def _generates(module: Module) -> bool:
    """Whether code is generated for a module that is read from text, as XLA's are."""
    return not try_generation([parse_module(print_module(module))], [None]).refusal


def _op(case: OpCase) -> str:
    if case.opcode != "custom-call":
        return case.opcode
    calls = [i.attrs for i in case.module().entry.instructions if isinstance(i.attrs, CustomCall)]
    return f"{case.opcode} {calls[0].target}"
