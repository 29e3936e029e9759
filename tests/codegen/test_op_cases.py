"""Every op case that code generation covers gives the interpreter's values between guarded buffers.

The fast part takes every opcode on every type in one static and one symbolic shape, and all other
variants of f32; the slow part takes the rest.
"""

from collections import defaultdict

import pytest
from compiled import compile_module
from expectations import check_outputs

from tfaot.errors import UnsupportedError
from tfaot.ir.attributes import Metadata
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Module
from tfaot.ir.printer import print_module
from tfaot.ir.shapes import Shape
from tfaot.ir.text import parse_module
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases import SIZES, OpCase, op_cases

FAMILIES = ("elementwise", "comparison", "conversion", "movement", "reduce", "dot", "gather")
ELSEWHERE = frozenset({"scatter"})
"""Opcodes of these families that have tests of their own, like complex types."""

BATCHES = (0, 1, 5, 17)


def _is_complex(case: OpCase) -> bool:
    module = case.module()
    shapes = [i.shape for i in module.entry.instructions]
    return any(s.dtype.is_complex for s in shapes if isinstance(s, Shape))


def _moves_only(case: OpCase) -> bool:
    return case.family == "movement" and case.opcode != "iota"


def _chosen() -> list[OpCase]:
    cases = op_cases(FAMILIES)
    cases += [c for c in op_cases(["control"]) if c.opcode in ("tuple", "call")]
    return [
        c for c in cases if c.opcode not in ELSEWHERE and (_moves_only(c) or not _is_complex(c))
    ]


def _is_fast(case: OpCase) -> bool:
    variant = case.name.rpartition("/")[2]
    if case.family in ("elementwise", "comparison"):
        return variant in ("17", "scalar-Bx3") or variant.endswith("Bx3")
    if case.opcode == "convert":
        return not variant.rpartition("-")[2].isdigit() or variant.endswith("-17")
    if case.opcode == "reduce":
        return str(case.dtype) in ("f32", "s8") or "Bx17-1" in variant or "5x6" in variant
    if case.opcode == "dot" and variant.startswith("layer"):
        return variant.split("-")[1] in ("1", "33")
    if case.opcode == "gather" and variant.partition("-")[2] in map(str, SIZES):
        return variant in ("embedding-1", "embedding-17", "embedding-64")
    return True


def _groups(fast: bool) -> dict[str, list[OpCase]]:
    groups: dict[str, list[OpCase]] = defaultdict(list)
    for case in _chosen():
        if _is_fast(case) == fast:
            groups[f"{case.family}-{case.opcode}-{case.dtype}"].append(case)
    return dict(groups)


FAST, SLOW = _groups(True), _groups(False)


def _as_imported(case: OpCase) -> Module:
    """The module as the importer gives it: it knows no `bitcast`."""
    module = case.module()
    return parse_module(print_module(module)) if case.opcode == "bitcast" else module


def _check(case: OpCase, target: str = "x86-64-v3", seed: int = 0) -> None:
    run = compile_module(_as_imported(case), target)
    for batch in BATCHES if case.symbolic else (1,):
        inputs = case.inputs(seed, batch)
        check_outputs(case, inputs, batch, run(inputs, batch), target)


@pytest.mark.parametrize("group", FAST)
def test_values(group):
    for case in FAST[group]:
        _check(case)


@pytest.mark.slow
@pytest.mark.parametrize("group", SLOW)
def test_values_of_all_sizes(group):
    for case in SLOW[group]:
        _check(case, seed=1)


def test_an_op_that_code_generation_lacks_is_refused_by_name():
    """The error names op, shapes and layer."""
    b = ModuleBuilder("callback", Metadata("EagerPyFunc", "model/callback"))
    shape = Shape(DType.F32, (4,))
    module = b.module(b.custom_call("host_callback", shape, [b.parameter(DType.F32, (4,))]))
    with pytest.raises(UnsupportedError) as error:
        compile_module(module)
    message = str(error.value)
    assert "\n" not in message
    for part in ("host_callback", "f32[4]", "model/callback"):
        assert part in message, message
