"""Fold batch normalisation and other per-channel affine transforms into neighbouring weights.

After a dot or convolution, (x W + b) s + t becomes x (W s) + (b s + t); before one,
(x s + t) W + b becomes x (diag(s) W) + (t W + b). Coefficients are computed in float64 and rounded
once. What is left between other ops is merged into at most one product and one sum.

Accuracy: scaling a weight adds at most half an ulp to it. A shift moves past a dot only while the
terms |x s| that are then summed stay comparable to the terms |x s + t| of the original: a
normalisation (x - mean) / std with |mean| well above std subtracts exactly what it must before
anything is rounded, and stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Union

import numpy as np

from tfaot.ir.attributes import Constant, Convolution
from tfaot.ir.module import Computation, Instruction, Module, Rewriter, known_value, users
from tfaot.ir.shapes import Shape, fixed
from tfaot.passes import affine, build
from tfaot.passes.affine import Coefficient, Step
from tfaot.passes.canonicalise.dot import is_canonical_dot


@dataclass(frozen=True)
class FoldAffine:
    """The folding of affine transforms.

    Attributes:
        shift_limit: the largest weighted mean of |shift| over a dot's inputs, in units of the
            normalised values, at which a shift still moves into the bias. 2 bounds the growth of
            the summed terms, and so of the rounding error, by a factor of about 2 for values that
            are normalised to magnitude 1.
        folded: told of each dot or convolution that took steps in: the node, the steps on its
            input and those on its result, in the order of the data.
    """

    shift_limit: float = 2.0
    folded: Callable[[Instruction, list[Instruction], list[Instruction]], None] | None = field(
        default=None, compare=False
    )

    @property
    def name(self) -> str:
        """Name in dumps."""
        return "fold-affine"

    def run(self, module: Module) -> Module:
        """The module with transforms folded; `module` itself where there are none."""
        return build.rewrite_module(module, self._computation)

    def _computation(self, computation: Computation) -> Computation:
        # What becomes of one dot can open the way for another; each turn removes an op.
        while True:
            folded = _Sweep(self, computation).run()
            if folded is computation:
                return computation
            computation = folded


@dataclass(frozen=True)
class _Dot:
    """A dot in normal form with a constant right side."""

    node: Instruction

    @property
    def weights(self) -> Coefficient:
        """The constant operand, made anew for each use: models may hold many large ones."""
        return self.node.operands[1].attr(Constant).value.astype(np.float64)

    def outputs(self, values: Coefficient) -> Coefficient | None:
        """Multiplier of the weights for one of the result."""
        return values if values.shape[-2] == 1 else None

    def inputs(self, values: Coefficient) -> Coefficient | None:
        """Multiplier of the weights for one of the left side."""
        return None if values.shape[-2] != 1 else np.swapaxes(values, -1, -2)

    def shifts(self) -> bool:
        """Whether a shift of the input is a shift of the result."""
        return True

    def apply(self, multiplier: Coefficient, weights: Coefficient) -> Coefficient:
        """The result for an input that is the same in every row, given as a multiplier."""
        # Summed term by term, not by a BLAS: the bits are then the same on every machine.
        terms = np.broadcast_to(multiplier, (*multiplier.shape[:-2], weights.shape[-2], 1))
        total: Coefficient = np.zeros(
            (*np.broadcast_shapes(terms.shape[:-2], weights.shape[:-2]), 1, 1)
        )
        for k in range(weights.shape[-2]):
            total = total + terms[..., k : k + 1, :] * weights[..., k : k + 1, :]
        return total


@dataclass(frozen=True)
class _Convolution:
    """A convolution with a constant kernel."""

    node: Instruction

    @property
    def _kernel(self) -> Shape:
        return self.node.operands[1].array

    @property
    def weights(self) -> Coefficient:
        """The constant operand, made anew for each use: models may hold many large ones."""
        return self.node.operands[1].attr(Constant).value.astype(np.float64)

    def outputs(self, values: Coefficient) -> Coefficient | None:
        """Multiplier of the kernel for one of the result."""
        attrs = self.node.attr(Convolution)
        return self._along(values, attrs.output_feature, attrs.kernel_output_feature)

    def inputs(self, values: Coefficient) -> Coefficient | None:
        """Multiplier of the kernel for one of the input."""
        attrs = self.node.attr(Convolution)
        groups = attrs.feature_group_count
        if groups == 1 or values.size == 1:
            return self._along(values, attrs.input_feature, attrs.kernel_input_feature)
        if values.size != values.shape[attrs.input_feature]:
            return None
        flat = values.reshape(-1)
        depth = self._kernel.static_dims[attrs.kernel_input_feature]
        outputs = self._kernel.static_dims[attrs.kernel_output_feature]
        group = np.arange(outputs) // (outputs // groups)
        table: Coefficient = flat[group[None, :] * depth + np.arange(depth)[:, None]]
        if attrs.kernel_input_feature > attrs.kernel_output_feature:
            table = table.T
        shape = [1] * self._kernel.rank
        shape[attrs.kernel_input_feature] = depth
        shape[attrs.kernel_output_feature] = outputs
        return table.reshape(shape)

    def shifts(self) -> bool:
        """Whether a shift of the input is a shift of the result: no zeros are padded in."""
        window = self.node.attr(Convolution).window
        return all(
            fixed(w.padding_low) <= 0 and fixed(w.padding_high) <= 0 and w.base_dilation == 1
            for w in window
        )

    def apply(self, multiplier: Coefficient, weights: Coefficient) -> Coefficient:
        """The result for an input that is the same at every position, given as a multiplier."""
        attrs = self.node.attr(Convolution)
        columns = np.moveaxis(multiplier * weights, attrs.kernel_output_feature, 0)
        total = np.cumsum(columns.reshape(columns.shape[0], -1), axis=1)[:, -1]
        shape = [1] * self.node.array.rank
        shape[attrs.output_feature] = total.size
        return total.reshape(shape)

    def _along(self, values: Coefficient, source: int, target: int) -> Coefficient | None:
        if values.size != values.shape[source]:
            return None
        shape = [1] * self._kernel.rank
        shape[target] = values.size
        return values.reshape(shape)


_Linear = Union[_Dot, _Convolution]


@dataclass
class _Plan:
    """What is folded into one dot or convolution.

    Attributes:
        top: the instruction whose value the folded form gives.
        after: steps above the dot, the nearest first; `path` moves its result to `top`.
        before: steps below it, the nearest first, with the movements passed up to each.
    """

    linear: _Linear
    top: Instruction
    scale: Coefficient
    shift: Coefficient
    after: list[Step] = field(default_factory=list)
    path: list[Instruction] = field(default_factory=list)
    before: list[_Before] = field(default_factory=list)


@dataclass(frozen=True)
class _Before:
    """The transform of a dot's input after some steps: x_dot = scale * moved(base) + shift.

    `step` is the last of them, which `base` is the operand of.
    """

    step: Instruction
    base: Instruction
    path: tuple[Instruction, ...]
    scale: Coefficient
    shift: Coefficient


class _Sweep:
    """One pass over a computation."""

    def __init__(self, options: FoldAffine, computation: Computation) -> None:
        self._options = options
        self._computation = computation
        self._users = users(computation)
        self._new: dict[int, Instruction] = {}
        self._changed = False
        self._linear = {
            id(i): linear for i in computation.instructions if (linear := self._as_linear(i))
        }
        self._plans: dict[int, _Plan] = {}
        taken: set[int] = set()
        for node in computation.instructions:
            if id(node) in self._linear:
                plan = self._plan(self._linear[id(node)])
                self._plans[id(plan.top)] = plan
                taken.update(id(s.node) for s in plan.after)
        self._chains = self._merges(taken)

    def run(self) -> Computation:
        swept = Rewriter(self._change).run(self._computation)
        return swept if self._changed else self._computation

    def _change(self, old: Instruction, operands: tuple[Instruction, ...]) -> Instruction:
        new = build.rebuild(old, operands)
        replacement: Instruction | None = None
        if id(old) in self._plans:
            replacement = self._emit(self._plans[id(old)])
        elif id(old) in self._chains:
            replacement = self._chains[id(old)](old)
        if replacement is not None:
            self._changed = True
            new = replacement
        self._new[id(old)] = new
        return new

    # Dots and convolutions.

    def _as_linear(self, node: Instruction) -> _Linear | None:
        if node.opcode not in ("dot", "convolution") or node.array.dtype not in affine.FLOATS:
            return None
        kernel = node.operands[1]
        # What follows tests values: of weights outside of the code they are not to be known.
        if known_value(kernel) is None or kernel.array.dtype is not node.array.dtype:
            return None
        if node.operands[0].array.dtype is not node.array.dtype or 0 in kernel.array.dims:
            return None
        # Weights that something else uses too would have to be stored twice.
        if len(self._users[id(kernel)]) != 1 or node.operands[0] is kernel:
            return None
        if node.opcode == "dot":
            return _Dot(node) if is_canonical_dot(node) else None
        if node.attr(Convolution).batch_group_count != 1:
            return None
        return _Convolution(node)

    def _only_user(self, node: Instruction) -> Instruction | None:
        found = self._users[id(node)]
        return found[0] if len(found) == 1 and node is not self._computation.root else None

    def _plan(self, linear: _Linear) -> _Plan:
        rank = linear.node.array.rank
        plan = _Plan(linear, linear.node, np.ones((1,) * rank), np.zeros((1,) * rank))
        self._collect_after(plan)
        plan.before = self._collect_before(linear)
        return plan

    def _collect_after(self, plan: _Plan) -> None:
        here, path = plan.linear.node, list[Instruction]()
        while (user := self._only_user(here)) is not None:
            if affine.is_movement(user):
                path.append(user)
                here = user
                continue
            step = affine.affine_step(user)
            if step is None or step.operand is not here:
                return
            scale: Coefficient | None = step.scale
            shift: Coefficient | None = step.shift
            for node in reversed(path):
                scale, shift = affine.pull(scale, node), affine.pull(shift, node)
            if scale is None or shift is None or not _is_usable(scale, shift):
                return
            if plan.linear.outputs(scale) is None or plan.linear.outputs(shift) is None:
                return
            plan.after.append(step)
            plan.scale = plan.scale * scale
            plan.shift = plan.shift * scale + shift
            plan.top, plan.path = user, list(path)
            here = user

    def _collect_before(self, linear: _Linear) -> list[_Before]:
        here = linear.node.operands[0]
        rank = here.array.rank
        scale, shift = np.ones((1,) * rank), np.zeros((1,) * rank)
        path: list[Instruction] = []
        found: list[_Before] = []
        while self._is_exclusive(here, linear):
            if affine.is_movement(here):
                path.insert(0, here)
                here = here.operands[0]
                continue
            step = affine.affine_step(here)
            if step is None:
                break
            s: Coefficient | None = step.scale
            t: Coefficient | None = step.shift
            for node in path:
                s, t = affine.push(s, node), affine.push(t, node)
            if s is None or t is None or not _is_usable(s, t):
                break
            scale, shift = scale * s, scale * t + shift
            if linear.inputs(scale) is None or linear.inputs(shift) is None:
                break
            here = step.operand
            found.append(_Before(step.node, here, tuple(path), scale, shift))
        return found

    def _is_exclusive(self, node: Instruction, linear: _Linear) -> bool:
        """Whether only dots that can fold the step at `node` need its value."""
        if node is self._computation.root:
            return False
        takers = self._users[id(node)]
        if node is not linear.node.operands[0]:
            return len(takers) == 1
        return all(id(t) in self._linear and t.operands[0] is node for t in takers)

    def _emit(self, plan: _Plan) -> Instruction | None:
        # The longest run of steps before the dot that is safe to fold; then none at all.
        for before in (*reversed(plan.before), None):
            folded = self._fold(plan, before)
            if folded is not None:
                self._tell(plan, before)
                return folded
        return None

    def _tell(self, plan: _Plan, before: _Before | None) -> None:
        if self._options.folded is None:
            return
        inputs: list[Instruction] = []
        for step in plan.before if before is not None else ():
            inputs.insert(0, step.step)
            if step is before:
                break
        self._options.folded(plan.linear.node, inputs, [s.node for s in plan.after])

    def _fold(self, plan: _Plan, before: _Before | None) -> Instruction | None:
        linear, node = plan.linear, plan.linear.node
        plain_bias = len(plan.after) == 1 and plan.after[0].node.opcode == "add"
        if before is None and (not plan.after or plain_bias):
            return None
        dtype = node.array.dtype
        weights = linear.weights
        multiplier = linear.outputs(plan.scale)
        shift: Coefficient = plan.shift
        assert multiplier is not None
        x = self._new[id(node.operands[0])]
        if before is not None:
            scale, moved = linear.inputs(before.scale), linear.inputs(before.shift)
            assert scale is not None
            assert moved is not None
            if np.any(before.shift != 0):
                if not linear.shifts() or not self._is_accurate(linear, before, scale, moved):
                    return None
                shift = linear.apply(moved, weights) * plan.scale + shift
            multiplier = multiplier * scale
            x = affine.replay(node, self._new[id(before.base)], list(before.path))
        weights = weights * multiplier
        if not _is_usable(multiplier, shift) or not affine.is_safe(weights, dtype):
            return None
        if not np.all(np.isfinite(affine.round_to(shift, dtype).astype(np.float64))):
            return None
        kernel = node.operands[1]
        if np.any(multiplier != 1):
            kernel = build.constant(kernel, affine.round_to(weights, dtype), dtype)
        result = replace(node, operands=(x, kernel))
        if np.any(shift != 0):
            name = plan.after[0].node if plan.after else node
            result = affine.emit(name, "add", result, shift)
        return affine.replay(node, result, plan.path)

    def _is_accurate(
        self, linear: _Linear, before: _Before, scale: Coefficient, shift: Coefficient
    ) -> bool:
        """Whether the terms x s summed after folding stay comparable to the terms x s + t.

        |x s| is at most |x s + t| + |t|, and at most |s| max|x|; a normalised |x s + t| is taken
        as 1, and the terms weighted as the dot weights them.
        """
        size = np.abs(linear.weights)
        bound = _magnitude(before.base)
        excess = np.minimum(np.abs(shift), np.abs(scale) * bound)
        terms = linear.apply(excess, size)
        total = linear.apply(np.ones_like(excess), size)
        return bool(np.all(terms <= self._options.shift_limit * total))

    # Chains of steps without a dot to take them.

    def _merges(self, taken: set[int]) -> dict[int, Callable[[Instruction], Instruction]]:
        """For the last step of each chain that gets shorter, what builds the short form."""
        found: dict[int, Callable[[Instruction], Instruction]] = {}
        claimed = set(taken)
        for node in reversed(self._computation.instructions):
            if id(node) in claimed or id(node) in self._plans:
                continue
            steps = self._chain(node, claimed)
            merged = _merge(steps, self._options.shift_limit) if len(steps) > 1 else None
            if merged is not None:
                claimed.update(id(s.node) for s in steps)
                found[id(node)] = self._builder(merged)
        return found

    def _chain(self, node: Instruction, claimed: set[int]) -> list[Step]:
        """The steps that lead to `node`, the last first."""
        steps: list[Step] = []
        while id(node) not in claimed and node.opcode in affine.STEPS:
            step = affine.affine_step(node)
            if step is None or not _is_usable(step.scale, step.shift):
                break
            steps.append(step)
            node = step.operand
            if self._only_user(node) is None:
                break
        return steps

    def _builder(self, merged: _Merged) -> Callable[[Instruction], Instruction]:
        def make(old: Instruction) -> Instruction:
            x = self._new[id(merged.base)]
            if np.any(merged.scale != 1):
                x = affine.emit(old, "multiply", x, merged.scale)
            if np.any(merged.shift != 0):
                x = affine.emit(old, "add", x, merged.shift)
            return x

        return make


@dataclass(frozen=True)
class _Merged:
    """One product and one sum that stand for a chain of steps from `base`."""

    base: Instruction
    scale: Coefficient
    shift: Coefficient


def _merge(steps: list[Step], limit: float) -> _Merged | None:
    """The short form of a chain (last step first); None where none is shorter and as accurate.

    Sums before the first product may cancel exactly what a merged shift would cancel only after
    rounding, so a chain is merged whole only where its shift stays comparable to its result, which
    is taken as 1 or the last shift; else from its first product on, under the same condition.
    """
    first = len(steps)
    while first > 0 and steps[first - 1].is_addition:
        first -= 1
    if first == 0:
        return _compose(steps) if _sums_merge(steps) else None
    for chain in (steps, steps[:first]):
        merged = _compose(chain)
        if merged is None:
            continue
        scale = np.maximum(1.0, np.abs(chain[0].shift))
        if np.all(np.abs(merged.shift) <= limit * scale):
            return merged
    return None


def _compose(chain: list[Step]) -> _Merged | None:
    """One product and one sum for `chain`; None where that is no shorter, or loses precision."""
    scale, shift = chain[-1].scale, chain[-1].shift
    for step in reversed(chain[:-1]):
        scale, shift = scale * step.scale, shift * step.scale + step.shift
    if not _is_usable(scale, shift):
        return None
    dtype = chain[-1].node.array.dtype
    if not affine.is_safe(scale, dtype) or not affine.is_safe(shift, dtype):
        return None
    scale, shift = affine.squeeze(scale), affine.squeeze(shift)
    stored = sum(s.scale.size + s.shift.size for s in chain)
    cost = int(np.any(scale != 1)) + int(np.any(shift != 0))
    if cost >= len(chain) or scale.size + shift.size > stored:
        return None
    return _Merged(chain[-1].operand, scale, shift)


def _sums_merge(steps: list[Step]) -> bool:
    """Whether (x + a) + b may become x + (a + b): a + b is exact, or no larger than 2 b."""
    total = steps[-1].shift
    dtype = steps[0].node.array.dtype
    for step in reversed(steps[:-1]):
        merged = total + step.shift
        exact = affine.round_to(merged, dtype).astype(np.float64) == merged
        if not np.all(exact | (np.abs(merged) <= 2 * np.abs(step.shift))):
            return False
        total = merged
    return True


def _is_usable(scale: Coefficient, shift: Coefficient) -> bool:
    """Whether both are finite and no scale is 0."""
    return bool(np.all(np.isfinite(scale)) and np.all(scale != 0) and np.all(np.isfinite(shift)))


def _magnitude(x: Instruction) -> float:
    """A bound on |x| that follows from the op that makes it, else infinity."""
    if x.opcode in ("tanh", "logistic", "erf", "sine", "cosine", "sign"):
        return 1.0
    if x.opcode in ("reshape", "transpose", "broadcast", "slice", "reverse"):
        return _magnitude(x.operands[0])
    if x.opcode == "clamp":
        low, high = (affine.coefficient(x.operands[i]) for i in (0, 2))
        if low is not None and high is not None:
            return float(max(np.abs(low).max(), np.abs(high).max()))
    return float("inf")
