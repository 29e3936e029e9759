"""docs/accuracy.md states the bounds that the code has."""

from __future__ import annotations

from pathlib import Path

from measure import NARROW_BOUND

from tfaot.codegen.math import MATH
from tfaot.ir.dtypes import DType

PAGE = Path(__file__).parents[3] / "docs/accuracy.md"


def rows(columns: int) -> list[list[str]]:
    """The cells of the tables that have so many columns, without their two header rows."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if len(row) == columns][2:]


def test_bounds_are_those_of_the_functions() -> None:
    stated = {
        (name, dtype): (float(fma), float(no_fma)) for name, dtype, fma, _, _, no_fma, _ in rows(7)
    }
    assert stated == {
        (name, str(dtype)): (accuracy.fma, accuracy.no_fma)
        for name, function in MATH.items()
        for dtype, accuracy in function.max_ulp.items()
    }


def test_measured_errors_are_within_the_bounds() -> None:
    for name, dtype, fma, measured, _, no_fma, measured_without in rows(7):
        # Measured errors are printed with two digits.
        assert float(measured) <= float(fma) + 0.005, (name, dtype)
        assert float(measured_without) <= float(no_fma) + 0.005, (name, dtype)


def test_narrow_types_are_within_theirs() -> None:
    found = rows(3)
    assert sorted(name for name, _, _ in found) == sorted(MATH)
    for name, half, brain in found:
        assert float(half) <= NARROW_BOUND[DType.F16], name
        assert float(brain) <= NARROW_BOUND[DType.BF16], name
    text = " ".join(PAGE.read_text().split())
    assert f"{NARROW_BOUND[DType.F16]} ULP for float16" in text
    assert f"{NARROW_BOUND[DType.BF16]} ULP for bfloat16" in text


def test_every_float32_was_measured() -> None:
    assert "every float32, all 2^32 bit patterns" in " ".join(PAGE.read_text().split())
