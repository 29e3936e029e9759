"""Whether outputs of a module are right, op by op: the judge of compiled code and of XLA.

Input: a module, its inputs, and the outputs that some engine gave. Output: a `Verdict`.

Integers, predicates, data movement and correctly rounded ops must be exact. An op whose result
may be rounded in several ways (a sum, a transcendental function) is compared within its bound
where it is an output, and what the engine made of it is then the operand of what follows: so
errors don't add up, and a comparison behind such an op is as exact as any. What can't be known is
skipped, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from op_kinds import (
    CHOLESKY,
    COMPLEX,
    CONTROL,
    EXACT,
    FFT,
    MIXED,
    REDUCTIONS,
    SOLVE,
    SUM,
    ULP,
    UNKNOWN,
    ZERO,
    adds_zero,
    contracts,
    folded_into,
    is_identity,
    is_input,
    kind_of_op,
    magnitude_of,
    reducers_of,
    source_of,
    sums_hidden_products,
)

from tfaot.codegen.math import MATH
from tfaot.interpreter.context import Context
from tfaot.ir.attributes import Compare, Fft, ReducePrecision
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction, Module
from tfaot.ir.shapes import Shape
from tfaot.testing.ulp import spacing, ulp_distance

Array = NDArray[Any]

_SIGN_OF_ZERO_MATTERS = frozenset(
    """divide atan2 power rsqrt bitcast-convert sort custom-call map call fusion while conditional
    complex log cbrt scatter reduce reduce-window select-and-scatter cholesky triangular-solve fft
    """.split()  # noqa: SIM905
)
EPSILON = {DType.F16: 2.0**-10, DType.BF16: 2.0**-7, DType.F32: 2.0**-23, DType.F64: 2.0**-52}


@dataclass(frozen=True)
class Engine:
    """What may be asked of an engine's numbers.

    Attributes:
        max_ulp: the error of a transcendental function of a type.
        flushes: whether denormals may be taken, or given, as zero.
        contracts: whether any product may be fused with any sum.
        slack: of the bounds of sums and complex arithmetic.
    """

    max_ulp: Callable[[str, DType], float]
    flushes: bool = False
    contracts: bool = False
    slack: float = 1.0


def compiled_engine(*, has_fma: bool) -> Engine:
    """The bounds that tfaot states."""

    def max_ulp(opcode: str, dtype: DType) -> float:
        narrow = dtype not in (DType.F32, DType.F64)
        accuracy = MATH[opcode].max_ulp[DType.F32 if narrow else dtype]
        stated = accuracy.fma if has_fma else accuracy.no_fma
        if narrow:
            return 0.5 + stated / 8
        # The reference has an error of its own in float64.
        return stated + (1 if dtype is DType.F64 else 0)

    return Engine(max_ulp)


@dataclass
class Verdict:
    """What comparing found.

    Attributes:
        compared: elements of outputs that were compared.
        skipped: those that nothing could be said about.
        problems: what is wrong, a line each.
    """

    compared: int = 0
    skipped: int = 0
    problems: list[str] = field(default_factory=list)


def judge(
    module: Module, inputs: Sequence[Array], outputs: Sequence[Array], batch: int, engine: Engine
) -> Verdict:
    """Compare `outputs`, as an engine gave them for `inputs`, with what they must be."""
    with np.errstate(all="ignore"):
        return _Judge(module, inputs, outputs, batch, engine).run()


class _Judge:
    def __init__(
        self,
        module: Module,
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        batch: int,
        engine: Engine,
    ) -> None:
        self.module, self.inputs, self.outputs, self.engine = module, inputs, outputs, engine
        self.context, self.wide = Context(batch), Context(batch, float64=True)
        self.values: dict[int, Any] = {}
        self.unknown: set[int] = set()
        self.loose: set[int] = set()
        self.folded: set[int] = set()
        self.verdict = Verdict()
        self.places: dict[int, list[int]] = {}
        for place, output in enumerate(module.outputs):
            self.places.setdefault(id(output), []).append(place)

    def run(self) -> Verdict:
        for node in self.module.entry.instructions:
            if node.opcode == "parameter":
                self.values[id(node)] = self.inputs[self.module.entry.parameters.index(node)]
            elif node is not self.module.entry.root or id(node) in self.places:
                self._evaluate(node)
            if id(node) in self.places:
                self._compare(node)
            if self.verdict.problems:
                break
        return self.verdict

    def _evaluate(self, node: Instruction) -> None:
        operands = [self.values.get(id(o)) for o in node.operands]
        if any(id(o) in self.unknown for o in node.operands) or self._undefined(node, operands):
            self.unknown.add(id(node))
            return
        value = self.context.apply(node, operands)
        self.values[id(node)] = value
        kind = self._kind(node)
        if kind is UNKNOWN or (kind not in (EXACT, ZERO) and not self._is_whole(node, operands)):
            self.unknown.add(id(node))
        # XLA puts constants together whatever else reads what is between.
        kept = () if self.engine.contracts else self.places
        if folded_into(node, kept) and not self._stays_whole(node, operands):
            self.unknown.add(id(node))
            self.folded.add(id(node))
        loose = kind is ZERO or any(id(o) in self.loose for o in node.operands)
        loose = loose or (self.engine.contracts and adds_zero(node))
        if loose and _has_zero(value):
            self.loose.add(id(node))
        if self.engine.flushes and (_denormal(value) or any(_denormal(o) for o in operands)):
            self.unknown.add(id(node))

    def _kind(self, node: Instruction) -> str:
        kind = kind_of_op(node)
        return UNKNOWN if self.engine.contracts and self._differs_in_xla(node, kind) else kind

    def _differs_in_xla(self, node: Instruction, kind: str) -> bool:
        """Whether XLA:CPU may differ, by what HLO leaves open and by its own liberties."""
        if node.opcode in CONTROL | REDUCTIONS and contracts(node):
            return True
        if sums_hidden_products(node):
            return True
        if node.opcode in ("reduce", "reduce-window", "select-and-scatter"):
            # Initial values may be used several times, or not at all.
            initial = [self.values.get(id(o)) for o in node.operands[len(node.operands) // 2 :]]
            return not is_identity(reducers_of(node), initial)
        match node.opcode:
            case "dynamic-slice":
                # Of another: the starts are added, and the first one's limit is lost.
                return any(o.opcode == "dynamic-slice" for o in node.operands)
            case "convolution":
                # Groups are multiplied with zeros, and so are paddings.
                inputs = [self.values.get(id(o)) for o in node.operands]
                return not all(v is not None and _is_finite(v) for v in inputs)
            case "multiply":
                # Of quotients, roots and powers: put together.
                inner = {source_of(o).opcode for o in node.operands}
                together = {"divide", "multiply", "sqrt", "rsqrt", "power", "exponential", "cbrt"}
                if not node.array.dtype.is_integer and inner & together:
                    return True
            case "divide":
                # By a constant: a product with its rounded reciprocal.
                return node.array.dtype.is_float or node.array.dtype.is_complex
            case "power":
                # Of integers: negative exponents.
                return node.array.dtype.is_integer
            case "convert":
                # To 8 bits by way of float16, rounded twice.
                source = node.operands[0].array.dtype
                eight = node.array.dtype.is_float and node.array.dtype.bits == 8
                return eight and source in (DType.F32, DType.F64)
            case "reduce-precision":
                return node.attr(ReducePrecision).mantissa_bits == 0
        return kind is COMPLEX and node.opcode != "multiply"

    def _undefined(self, node: Instruction, operands: Sequence[Any]) -> bool:
        """Whether the op looks at what isn't specified: signs of some zeros and NaNs."""
        if node.opcode in _SIGN_OF_ZERO_MATTERS and any(id(o) in self.loose for o in node.operands):
            return True
        total = node.opcode == "compare" and node.attr(Compare).order == "TOTALORDER"
        if total and any(id(o) in self.loose for o in node.operands):
            return True
        if not (total or node.opcode in ("bitcast-convert", "sort", "custom-call")):
            return False
        return any(
            not is_input(o) and _has_nan(v) for o, v in zip(node.operands, operands, strict=True)
        )

    def _is_whole(self, node: Instruction, operands: Sequence[Any]) -> bool:
        """Whether every partial sum is a whole number that the type holds exactly."""
        if self._kind(node) not in (SUM, MIXED) or not isinstance(node.shape, Shape):
            return False
        if not node.shape.dtype.is_float or "multiply" in reducers_of(node):
            return False
        if not _all_whole(operands):
            return False
        magnitudes = [_magnitudes(x) for x in operands]
        total = np.asarray(self.wide.apply(magnitude_of(node), magnitudes), np.float64)
        return bool((total < 1 / EPSILON[node.shape.dtype]).all()) if total.size else True

    def _stays_whole(self, node: Instruction, operands: Sequence[Any]) -> bool:
        """Whether constants may be moved across sums of whole numbers: nothing is rounded."""
        if node.opcode not in ("add", "subtract", "negate") or not _all_whole(operands):
            return False
        inner = folded_into(node, () if self.engine.contracts else self.places)
        return all(i.opcode in ("add", "subtract", "negate", "dot", "convolution") for i in inner)

    def _compare(self, node: Instruction) -> None:
        """The outputs that are this value; it is what they are, from here on."""
        found = self.outputs[self.places[id(node)][0]]
        operands = [self.values.get(id(o)) for o in node.operands]
        known = not any(id(o) in self.unknown for o in node.operands)
        kind = self._kind(node)
        if id(node) not in self.unknown:
            loose = kind is ZERO or id(node) in self.loose
            self._require(node, found, _distance(found, self.values[id(node)], node, not loose), 0)
        elif (
            known
            and id(node) not in self.folded
            and kind not in (EXACT, ZERO, UNKNOWN)
            and not self._undefined(node, operands)
            and id(node) in self.values
        ):
            self._within_bounds(node, kind, found, operands)
        else:
            self.verdict.skipped += found.size
        self.values[id(node)] = found
        self.unknown.discard(id(node))
        self.loose.discard(id(node))

    def _require(self, node: Instruction, found: Array, error: Array, limit: Any) -> None:
        """Fails where the error of an element passes its limit."""
        self.verdict.compared += found.size
        bad = ~(np.broadcast_to(error, found.shape) <= limit)
        if not bad.any():
            return
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        expected = np.broadcast_to(self.values[id(node)], found.shape)[place]
        self.verdict.problems.append(
            f"%{node.name} = {node.shape} {node.opcode}: element {list(place)} is "
            f"{found[place]!r}, not {expected!r} ({int(bad.sum())} of {bad.size} differ)"
        )

    def _within_bounds(
        self, node: Instruction, kind: str, found: Array, operands: Sequence[Any]
    ) -> None:
        dtype = node.array.dtype
        wide = np.asarray(self.wide.apply(node, [_widened(v) for v in operands]))
        narrow = np.asarray(self.values[id(node)])
        if kind is ULP:
            error = ulp_distance(found, wide, dtype)
            limit: Any = self.engine.max_ulp(node.opcode, dtype)
            if self.engine.flushes:
                limit = np.where(_near_denormal(wide, dtype), np.inf, limit)
            self._require(node, found, error, limit)
            return
        scale, terms = self._scale(node, kind, wide, operands)
        epsilon, least, most = _limits_of(dtype)
        if self.engine.flushes:
            least = 4 * epsilon**-1 * least
        bound = self.engine.slack * terms * (epsilon * scale + least)
        error = np.abs(_widened(found) - wide)
        # Where sums may overflow on the way, their order decides.
        unsure = ~(scale * 2 < most) & ~(np.isnan(wide) | np.isinf(wide))
        unsure |= np.isfinite(wide) & ~np.isfinite(narrow)
        special = np.isnan(wide) | np.isinf(wide)
        same = (np.isnan(wide) & np.isnan(found)) | (wide == found)
        if kind not in (SUM, MIXED) or dtype.is_complex:
            # How infinities and NaNs spread through factorisations and parts isn't specified.
            unsure |= special
        if kind in (CHOLESKY, SOLVE, FFT):
            unsure |= ~np.isfinite(found)
        error = np.where(same | unsure, 0.0, np.where(special, np.inf, error))
        self._require(node, found, error, np.where(same | unsure, np.inf, bound))

    def _scale(
        self, node: Instruction, kind: str, wide: Array, operands: Sequence[Any]
    ) -> tuple[Array, float]:
        """Of errors: the size of what is summed, and how many roundings there are at most."""
        terms = 4.0 + max((int(np.prod(np.shape(v))) for v in operands), default=1)
        if kind is COMPLEX:
            # NumPy's are as accurate as for 1 + z, not as for z.
            near_one = node.opcode in ("log-plus-one", "exponential-minus-one")
            return np.maximum(np.abs(wide), 1.0 if near_one else 0.0), 16.0
        if node.opcode == "select-and-scatter":
            return np.full(wide.shape, np.abs(_widened(operands[1])).sum()), min(terms, 300.0)
        if kind is MIXED:
            return np.abs(_widened(operands[0])) + np.abs(_widened(operands[1])), 2.0
        if kind is SUM:
            magnitudes = [_magnitudes(v) for v in operands]
            scale = np.asarray(self.wide.apply(magnitude_of(node), magnitudes))
            return np.abs(scale), min(terms, 300.0)
        if kind is FFT:
            axes = tuple(range(-len(node.attr(Fft).length), 0))
            whole = np.sqrt(np.sum(np.abs(_widened(operands[0])) ** 2, axes, keepdims=True))
            size = 2.0 * float(np.prod(node.attr(Fft).length))
            return np.broadcast_to(whole * np.sqrt(size), wide.shape), 16.0
        norm = np.linalg.norm(np.abs(wide), axis=(-2, -1), keepdims=True)
        return np.broadcast_to(norm * 16, wide.shape), 32.0


def _all_whole(values: Sequence[Any]) -> bool:
    for value in values:
        x = np.asarray(value)
        if x.dtype.kind in "fV" and not (np.isfinite(x) & (np.trunc(x) == x)).all():
            return False
    return True


def _distance(found: Array, expected: Any, node: Instruction, strict: bool) -> Array:
    if found.shape != np.shape(expected):
        return np.full(found.shape, np.inf)
    return ulp_distance(found, np.asarray(expected), node.array.dtype, strict=strict)


def _limits_of(dtype: DType) -> tuple[float, float, float]:
    """Precision, least denormal and largest number of the (real part's) type."""
    info = ml_dtypes.finfo(dtype.real.numpy)
    return EPSILON[dtype.real], float(info.smallest_subnormal), float(info.max)


def _widened(value: Any) -> Any:
    x = np.asarray(value)
    dtype = DType.from_numpy(x.dtype)
    if dtype.is_complex:
        return x.astype(np.complex128)
    return x.astype(np.float64) if dtype.is_float else x


def _magnitudes(value: Any) -> Any:
    """Of numbers; integers are places, which stay: a negative one is beyond the array."""
    x = _widened(value)
    return np.abs(x) if x.dtype.kind in "fc" else x


def _arrays(value: Any) -> list[Array]:
    if isinstance(value, tuple):
        return [a for v in value for a in _arrays(v)]
    return [np.asarray(value)]


def _floats(value: Any) -> list[tuple[Array, DType]]:
    found = []
    for array in _arrays(value):
        dtype = DType.from_numpy(array.dtype)
        if dtype.is_complex:
            found += [(array.real, dtype.real), (array.imag, dtype.real)]
        elif dtype.is_float:
            found.append((array, dtype))
    return found


def _is_finite(value: Any) -> bool:
    return all(bool(np.isfinite(a.astype(np.float64)).all()) for a, _ in _floats(value))


def _has_nan(value: Any) -> bool:
    return any(bool(np.isnan(a.astype(np.float64)).any()) for a, _ in _floats(value))


def _has_zero(value: Any) -> bool:
    return any(bool((a == 0).any()) for a, _ in _floats(value))


def _denormal(value: Any) -> bool:
    for array, dtype in _floats(value):
        tiny = float(ml_dtypes.finfo(dtype.numpy).smallest_normal)
        wide = np.abs(array.astype(np.float64))
        if bool(((wide != 0) & (wide < tiny)).any()):
            return True
    return False


def _near_denormal(wide: Array, dtype: DType) -> Array:
    tiny = float(ml_dtypes.finfo(dtype.numpy).smallest_normal)
    return np.asarray(np.abs(wide) < 2 * tiny + spacing(np.zeros(1), dtype)[0])
