"""What a verification found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

WORST_ROWS = 5
"""Rows of each output that a report lists."""


@dataclass(frozen=True)
class RowReport:
    """The worst element of a row (of the whole output, where there are no rows).

    Attributes:
        batch: batch size at which it was found.
        index: where in the output.
        actual: the compiled model's value there.
        expected: the float64 value there.
        ulp: its error, as for the output.
    """

    batch: int
    index: tuple[int, ...]
    actual: float
    expected: float
    ulp: float


@dataclass(frozen=True)
class OutputReport:
    """Errors of one output over all batch sizes, in units in the last place (ULP) of its type.

    The error of an element is measured against float64, in ULP of the larger of the expected value
    and the feature's typical magnitude (its median over the rows, zeros left out), so that values
    which cancel to almost nothing don't drown the rest.

    Attributes:
        name: the output's name.
        worst_ulp: the compiled model's largest error, of the elements held to the bound.
        tensorflow_ulp: TensorFlow's own largest error on the same inputs.
        bound_ulp: the bound that was applied.
        batch: batch size at which the worst element was found.
        index: where in the output.
        actual: the compiled model's value there.
        expected: the float64 value there.
        finite: the share of all elements that were finite, and so say something about accuracy.
        excused: elements beyond the bound which rounding each operation of the model once moves
            as far: they cancel, or sit at a threshold.
        excused_ulp: the largest error among those; 0 if there are none.
        rows: the rows with the largest errors of elements held to the bound, the worst first.
    """

    name: str
    worst_ulp: float
    tensorflow_ulp: float
    bound_ulp: float
    batch: int
    index: tuple[int, ...]
    actual: float
    expected: float
    finite: float = 1.0
    excused: int = 0
    excused_ulp: float = 0.0
    rows: tuple[RowReport, ...] = ()


@dataclass(frozen=True)
class VerificationReport:
    """The result of a verification that passed.

    Attributes:
        batch_sizes: those that ran.
        outputs: what was found of each output.
        reference: what they were compared with.
        cpus: the instruction sets that ran, ascending; `outputs` is of the last.
    """

    batch_sizes: tuple[int, ...]
    outputs: tuple[OutputReport, ...]
    reference: str
    cpus: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values, figures to three digits (further ones depend on the machine)."""
        data: dict[str, Any] = asdict(self)
        data["batch_sizes"] = list(self.batch_sizes)
        data["cpus"] = list(self.cpus)
        data["outputs"] = [
            {k: _plain(v) for k, v in asdict(output).items() if k != "rows"}
            | {"rows": [{k: _plain(v, k) for k, v in asdict(r).items()} for r in output.rows]}
            for output in self.outputs
        ]
        return data


def _plain(value: Any, key: str = "") -> Any:
    if isinstance(value, float):
        # Beside each other, the values of a row must show where they differ.
        return float(f"{value:.9g}" if key in ("actual", "expected") else f"{value:.3g}")
    return list(value) if isinstance(value, tuple) else value
