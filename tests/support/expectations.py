"""What a compiled op case must give: the interpreter's values, and how far from them it may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from tfaot.codegen.math import MATH
from tfaot.codegen.target import resolve_target
from tfaot.interpreter import evaluate
from tfaot.ir.attributes import Reduce
from tfaot.ir.dtypes import DType
from tfaot.testing.cases import OpCase
from tfaot.testing.ulp import assert_within_ulp

Array = NDArray[Any]

ZERO_OF_EITHER_SIGN = frozenset({"maximum", "minimum", "clamp", "reduce"})
"""Ops for which HLO leaves open which of two equal zeros they give."""

_EPSILON = {DType.F16: 2.0**-10, DType.BF16: 2.0**-7, DType.F32: 2.0**-23, DType.F64: 2.0**-52}


def check_outputs(
    case: OpCase, inputs: Sequence[Array], batch: int, actual: Sequence[Array], target: str
) -> None:
    """Fails unless `actual` is what `case` gives for `inputs`.

    Bitwise (NaNs are all alike) but for transcendental functions, within their stated error of a
    float64 evaluation, and floating-point sums and products, within their rounding errors.
    """
    module = case.module()
    expected = evaluate(module, inputs, batch=batch)
    for number, (found, wanted) in enumerate(zip(actual, expected, strict=True)):
        dtype = module.outputs[number].array.dtype
        assert found.shape == wanted.shape, case
        assert found.dtype == wanted.dtype, case
        try:
            if dtype.is_float and _is_accumulation(case):
                _check_accumulation(case, inputs, batch, found, number, dtype)
            elif dtype.is_float and case.opcode in MATH:
                wide = evaluate(module, inputs, batch=batch, float64=True)[number]
                assert_within_ulp(found, wide, _max_ulp(case.opcode, dtype, target), dtype)
            else:
                strict = case.opcode not in ZERO_OF_EITHER_SIGN
                assert_within_ulp(found, wanted, 0, dtype, strict=strict)
        except AssertionError as error:
            raise AssertionError(f"{case}, output {number}, batch {batch}: {error}") from None


def _max_ulp(opcode: str, dtype: DType, target: str) -> float:
    """The stated error; the reference adds its own in float64, rounding its own in narrow types."""
    narrow = dtype not in (DType.F32, DType.F64)
    accuracy = MATH[opcode].max_ulp[DType.F32 if narrow else dtype]
    stated = accuracy.fma if resolve_target(target).has_fma else accuracy.no_fma
    if narrow:
        return 0.5 + stated * _EPSILON[DType.F32] / _EPSILON[dtype]
    return stated + (1 if dtype is DType.F64 else 0)


def _is_accumulation(case: OpCase) -> bool:
    if case.opcode == "dot":
        return True
    reduces = [i for i in case.module().entry.instructions if i.opcode == "reduce"]
    opcodes = {j.opcode for i in reduces for j in i.attr(Reduce).to_apply.instructions}
    return bool(opcodes & {"add", "multiply"})


def _check_accumulation(
    case: OpCase, inputs: Sequence[Array], batch: int, found: Array, number: int, dtype: DType
) -> None:
    module = case.module()
    wide = evaluate(module, inputs, batch=batch, float64=True)[number]
    magnitudes = [np.abs(x) for x in inputs]
    scale = evaluate(module, magnitudes, batch=batch, float64=True)[number]
    terms = max((int(np.prod(x.shape)) for x in inputs), default=1)
    least = float(ml_dtypes.finfo(dtype.numpy).smallest_subnormal)
    bound = min(terms, 256) * (_EPSILON[dtype] * scale + least)
    error = np.abs(found.astype(np.float64) - wide)
    over = np.isfinite(wide.astype(dtype.numpy).astype(np.float64)) & ~(error <= bound)
    assert not over.any(), f"off by {error[over].max()}, more than {bound[over].min()}"
