"""The opcodes of the IR: arity, family and the element types that each allows.

One table serves the verifier and the support table; `OPCODES` is ordered by family. Type sets are
those of XLA's shape inference. `result_declared` marks opcodes whose result can't be inferred from
operands and attributes alone (a reshape's dimensions, a convert's type).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tfaot.ir.dtypes import DType

ALL = frozenset(DType)
PRED = frozenset({DType.PRED})
INTEGER = frozenset(d for d in DType if d.is_integer)
FLOAT = frozenset(d for d in DType if d.is_float)
COMPLEX = frozenset(d for d in DType if d.is_complex)
NUMBER = INTEGER | FLOAT | COMPLEX
INEXACT = FLOAT | COMPLEX
ORDERED = INTEGER | FLOAT | PRED
BITS = INTEGER | PRED
FFT_TYPES = frozenset({DType.F32, DType.F64, DType.C64, DType.C128})


@dataclass(frozen=True)
class OpcodeInfo:
    """What the IR knows of one opcode.

    Attributes:
        name: the opcode as XLA prints it.
        family: the file, in every stage, that implements it.
        arity: fewest and most operands; the most is None where there is no limit.
        types: element types allowed for the value operands (indices and predicates aside).
        result_declared: whether the result's shape must be given, not inferred.
        commutative: whether the two operands may be swapped.
    """

    name: str
    family: str
    arity: tuple[int, int | None]
    types: frozenset[DType]
    result_declared: bool = False
    commutative: bool = False


OPCODES: dict[str, OpcodeInfo] = {}


def _add(
    family: str,
    names: str,
    arity: int | tuple[int, int | None],
    types: Iterable[DType] = ALL,
    *,
    declared: bool = False,
    commutative: bool = False,
) -> None:
    bounds = (arity, arity) if isinstance(arity, int) else arity
    for name in names.split():
        OPCODES[name] = OpcodeInfo(name, family, bounds, frozenset(types), declared, commutative)


_add("source", "parameter", 0, declared=True)
_add("source", "constant", 0)
_add("source", "iota", 0, NUMBER, declared=True)
_add("source", "rng-bit-generator", 1, INTEGER, declared=True)

_add("elementwise", "add multiply", 2, NUMBER | PRED, commutative=True)
_add("elementwise", "subtract divide power", 2, NUMBER)
_add("elementwise", "remainder", 2, INTEGER | FLOAT)
_add("elementwise", "maximum minimum", 2, ORDERED, commutative=True)
_add("elementwise", "and or xor", 2, BITS, commutative=True)
_add("elementwise", "shift-left shift-right-arithmetic shift-right-logical", 2, INTEGER)
_add("elementwise", "atan2", 2, INEXACT)
_add("elementwise", "complex", 2, {DType.F32, DType.F64})
_add("elementwise", "compare", 2, ALL)
_add("elementwise", "abs negate sign", 1, NUMBER)
_add("elementwise", "real imag", 1, FLOAT | COMPLEX)
_add("elementwise", "not", 1, BITS)
_add("elementwise", "popcnt count-leading-zeros", 1, INTEGER)
_add("elementwise", "ceil floor round-nearest-afz round-nearest-even is-finite", 1, FLOAT)
_add("elementwise", "erf reduce-precision", 1, FLOAT)
_add(
    "elementwise",
    "exponential exponential-minus-one log log-plus-one logistic sqrt rsqrt cbrt",
    1,
    INEXACT,
)
_add("elementwise", "sine cosine tan tanh", 1, INEXACT)
_add("elementwise", "select clamp", 3, ALL)
_add("elementwise", "convert", 1, declared=True)
_add("elementwise", "bitcast-convert", 1, declared=True)
_add("elementwise", "map", (1, None))

_add("movement", "broadcast reshape bitcast", 1, declared=True)
_add("movement", "transpose copy slice reverse", 1)
_add("movement", "concatenate", (1, None))
_add("movement", "pad", 2)
_add("movement", "get-dimension-size", 1)

_add("reduce", "reduce", (2, None))
_add("dot", "dot", 2, NUMBER | PRED)
_add("convolution", "convolution", 2, NUMBER)
_add("window", "reduce-window", (2, None))
_add("window", "select-and-scatter", 3)
_add("indexing", "dynamic-slice", (1, None))
_add("indexing", "dynamic-update-slice", (2, None))
_add("indexing", "gather", 2)
_add("indexing", "scatter", (3, None))
_add("sort", "sort", (1, None))
_add("fft", "fft", 1, FFT_TYPES)
_add("linalg", "cholesky", 1, INEXACT)
_add("linalg", "triangular-solve", 2, INEXACT)
_add("control", "tuple", (0, None))
_add("control", "get-tuple-element while", 1)
_add("control", "conditional", (2, None))
_add("control", "call fusion", (0, None))
_add("control", "opt-barrier", 1)
_add("custom", "custom-call", (0, None), declared=True)

# Opcodes by which a model depends on state outside it, or asks for more than one device.
STATEFUL: dict[str, str] = {
    "rng": "draws random numbers from hidden state; use stateless random ops with a fixed seed",
    "rng-get-and-update-state": "draws random numbers from hidden state; "
    "use stateless random ops with a fixed seed",
    "infeed": "reads from the host",
    "outfeed": "writes to the host",
    "send": "communicates with the host",
    "send-done": "communicates with the host",
    "recv": "communicates with the host",
    "recv-done": "communicates with the host",
    "all-gather": "needs several devices",
    "all-reduce": "needs several devices",
    "all-to-all": "needs several devices",
    "collective-broadcast": "needs several devices",
    "collective-permute": "needs several devices",
    "reduce-scatter": "needs several devices",
    "partition-id": "needs several devices",
    "replica-id": "needs several devices",
}
