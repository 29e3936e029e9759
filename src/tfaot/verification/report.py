"""What a verification found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
            {
                k: _rounded(v) if isinstance(v, float) else list(v) if isinstance(v, tuple) else v
                for k, v in asdict(output).items()
            }
            for output in self.outputs
        ]
        return data


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
