"""The entry points of an artifact: NAME_run and NAME_workspace_bytes.

Input: the bodies of a model's variants. Output: the two functions. `NAME_run` checks its arguments
and chooses the instruction set; what it calls for that runs the body: once, or over tiles of rows
where rows are independent, so that activations stay in the cache and the workspace doesn't depend
on n. Static variants are composed to any n (`tfaot.codegen.composition`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.body import Body
from tfaot.codegen.composition import ComposedBodies
from tfaot.codegen.dispatch import EXPORTED, Dispatch, Level
from tfaot.codegen.external import NO_WEIGHTS, ExternalWeights
from tfaot.codegen.index import as_value, polynomial
from tfaot.codegen.loops import Loop
from tfaot.codegen.microkernel import POINTER
from tfaot.codegen.target import Target
from tfaot.codegen.types import I32, I64
from tfaot.ir.attributes import Slice
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Shape, dim_at
from tfaot.schedule.composition import Composition
from tfaot.schedule.sizes import ALIGNMENT, NOTHING, Bytes, round_up
from tfaot.signature import ListedDim, Signature, TensorSpec

OK, NEGATIVE_BATCH, NULL_POINTER, MISALIGNED_WORKSPACE, BATCH_TOO_LARGE, UNKNOWN_BATCH = range(6)
UNSUPPORTED_CPU, WRONG_PARTS = 8, 10
"""Status codes of NAME_run."""


@dataclass
class EntryEmitter:
    """Emits the entry points into a module.

    Attributes:
        module: where they go.
        name: the model's name.
        signature: its inputs and outputs.
        composition: how static variants are composed to other batch sizes; None where they can't.
        external: the weights, where they are outside of the object.
    """

    module: ir.Module
    name: str
    signature: Signature
    composition: Composition | None
    external: ExternalWeights | None = None

    def level(self, name: str, target: Target, bodies: Sequence[Body]) -> Level:
        """The functions that run the bodies for one instruction set.

        Their last parameter is the address of the weights, where they are outside of the object.

        Args:
            name: what the functions' names begin with.
            target: the instruction set.
            bodies: its variants.
        """
        composed = self._composed(name, bodies)
        compose = composed.emit() if composed is not None else None
        own = [POINTER] if self.external is not None else []
        type_ = ir.FunctionType(I32, [*self._type().args, *own])
        function = ir.Function(self.module, type_, f"{name}.evaluate")
        function.linkage = "internal"
        batch, *arrays = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        if bodies[0].variant.batch is not None:
            self._static(builder, bodies, compose, function.args)
        elif bodies[0].variant.tile is not None:
            self._tiles(builder, bodies, batch, arrays)
        else:
            builder.call(bodies[0].function, [*arrays, as_value(0), batch, batch])
        builder.ret(ir.Constant(I32, OK))
        return Level(target, bodies, function, compose)

    def _static(
        self,
        builder: ir.IRBuilder,
        bodies: Sequence[Body],
        compose: ir.Function | None,
        arguments: Sequence[ir.Value],
    ) -> None:
        """Run the body of the very size, or compose it of others."""
        batch, *arrays = arguments
        for body in bodies:
            size = as_value(body.variant.batch or 0)
            with builder.if_then(builder.icmp_signed("==", batch, size)):
                builder.call(body.function, [*arrays, as_value(0), size, size])
                builder.ret(ir.Constant(I32, OK))
        if compose is None:
            builder.ret(ir.Constant(I32, UNKNOWN_BATCH))
            builder.position_at_end(builder.append_basic_block("unreachable"))
        else:
            builder.call(compose, [batch, ir.Constant(POINTER, None), *arrays])

    def _composed(self, name: str, bodies: Sequence[Body]) -> ComposedBodies | None:
        if self.composition is None or bodies[0].variant.batch is None:
            return None
        external = self.external is not None
        return ComposedBodies(self.module, name, self.signature, bodies, self.composition, external)

    def emit(self, levels: Sequence[Level], dispatch: Dispatch | None) -> Bytes:
        """Emit the entry points; returns the size of the workspace."""
        bodies = levels[0].bodies
        size = self._workspace_size(bodies)
        assert all(self._workspace_size(level.bodies) == size for level in levels)
        self._run_function(size, levels, dispatch)
        if self.composition is not None:
            self._parts_function(size, levels, dispatch)
        self._workspace_function(size)
        return size

    def _type(self) -> ir.FunctionType:
        pointers = len(self.signature.inputs) + len(self.signature.outputs)
        return ir.FunctionType(I32, [I64, *([POINTER] * (pointers + 1))])

    def _run_function(
        self, size: Bytes, levels: Sequence[Level], dispatch: Dispatch | None
    ) -> None:
        function = ir.Function(self.module, self._type(), f"{self.name}_run")
        function.linkage = EXPORTED
        batch, *arrays = function.args
        workspace = arrays.pop()
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._check(builder, batch, arrays, workspace, size, levels[0].bodies)
        weights = self._weights(builder)

        def evaluate(level: Level) -> None:
            builder.ret(builder.call(level.evaluate, [*function.args, *weights]))

        self._choose(builder, levels, dispatch, evaluate)

    def _parts_function(
        self, size: Bytes, levels: Sequence[Level], dispatch: Dispatch | None
    ) -> None:
        """NAME_run_parts(batch, parts, count, ...): composed as the caller says."""
        batch_type, *others = self._type().args
        types = [batch_type, POINTER, I64, *others]
        function = ir.Function(self.module, ir.FunctionType(I32, types), f"{self.name}_run_parts")
        function.linkage = EXPORTED
        batch, parts, count, *arrays = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._check(builder, batch, arrays[:-1], arrays[-1], size, levels[0].bodies)
        self._check_parts(builder, batch, parts, count)
        weights = self._weights(builder)

        def compose(level: Level) -> None:
            assert level.compose is not None
            builder.call(level.compose, [batch, parts, *arrays, *weights])
            builder.ret(ir.Constant(I32, OK))

        self._choose(builder, levels, dispatch, compose)

    def _weights(self, builder: ir.IRBuilder) -> list[ir.Value]:
        """The address of the weights where they are outside; leaves where there are none.

        It is read once, so that one call never mixes two files.
        """
        if self.external is None:
            return []
        weights = self.external.base(builder)
        none = builder.icmp_unsigned("==", weights, ir.Constant(POINTER, None))
        with builder.if_then(none, likely=False):
            builder.ret(ir.Constant(I32, NO_WEIGHTS))
        return [weights]

    def _choose(
        self,
        builder: ir.IRBuilder,
        levels: Sequence[Level],
        dispatch: Dispatch | None,
        run: Callable[[Level], None],
    ) -> None:
        """Run the level that this CPU is to use, and return."""
        if dispatch is None:
            run(levels[0])
            return
        absent = builder.append_basic_block("absent")
        choice = builder.switch(dispatch.chosen(builder), absent)
        for level in levels:
            block = builder.append_basic_block(level.target.suffix)
            choice.add_case(ir.Constant(I32, level.target.level), block)
            builder.position_at_end(block)
            run(level)
        builder.position_at_end(absent)
        builder.ret(ir.Constant(I32, UNSUPPORTED_CPU))

    def _check_parts(
        self, builder: ir.IRBuilder, batch: ir.Value, parts: ir.Value, count: ir.Value
    ) -> None:
        """Leave unless each part is a size, all are needed, and together they are enough."""
        assert self.composition is not None
        wrong = ir.Constant(I32, WRONG_PARTS)
        null = builder.icmp_unsigned("==", parts, ir.Constant(POINTER, None))
        with builder.if_then(null, likely=False):
            builder.ret(ir.Constant(I32, NULL_POINTER))
        with Loop(builder, 0, count, 1, [as_value(0)], "part") as loop:
            (before,) = loop.carried
            part = builder.load(builder.gep(parts, [loop.index], source_etype=I64), typ=I64)
            bad: ir.Value = builder.icmp_signed(">=", before, batch)
            unknown: ir.Value = ir.Constant(ir.IntType(1), 1)
            for size in self.composition.sizes:
                unlike = builder.icmp_signed("!=", part, as_value(size))
                unknown = builder.and_(unknown, unlike)
            bad = builder.or_(bad, unknown)
            with builder.if_then(bad, likely=False):
                builder.ret(wrong)
            loop.update([builder.add(before, part)])
        (total,) = loop.results
        with builder.if_then(builder.icmp_signed("<", total, batch), likely=False):
            builder.ret(wrong)

    def _check(
        self,
        builder: ir.IRBuilder,
        batch: ir.Value,
        arrays: Sequence[ir.Value],
        workspace: ir.Value,
        size: Bytes,
        bodies: Sequence[Body],
    ) -> None:
        zero = as_value(0)

        def leave_if(condition: ir.Value, status: int) -> None:
            with builder.if_then(condition, likely=False):
                builder.ret(ir.Constant(I32, status))

        leave_if(builder.icmp_signed("<", batch, zero), NEGATIVE_BATCH)
        if not self._needs_run_without_rows(bodies):
            nothing = all(map(_vanishes, self.signature.outputs))
            leave_if(builder.icmp_signed("==", batch, zero), OK if nothing else UNKNOWN_BATCH)
        null = ir.Constant(POINTER, None)
        specs = [*self.signature.inputs, *self.signature.outputs]
        needed = [a for a, s in zip(arrays, specs, strict=True) if 0 not in s.dims]
        if size != NOTHING:
            needed.append(workspace)
        for pointer in needed:
            leave_if(builder.icmp_unsigned("==", pointer, null), NULL_POINTER)
        address = builder.ptrtoint(workspace, I64)
        low = builder.and_(address, as_value(ALIGNMENT - 1))
        leave_if(builder.icmp_unsigned("!=", low, zero), MISALIGNED_WORKSPACE)

    def _tiles(
        self,
        builder: ir.IRBuilder,
        bodies: Sequence[Body],
        batch: ir.Value,
        arrays: Sequence[ir.Value],
    ) -> None:
        """Call the body for tiles of equal height (by one row at most)."""
        (body,) = bodies
        tile = body.variant.tile
        assert tile is not None
        whole = builder.udiv(batch, as_value(tile))
        some = builder.icmp_unsigned("!=", builder.urem(batch, as_value(tile)), as_value(0))
        count = builder.add(whole, builder.zext(some, I64))
        if self._needs_run_without_rows(bodies):
            none = builder.icmp_signed("==", count, as_value(0))
            count = builder.select(none, as_value(1), count)
        base, extra = builder.udiv(batch, count), builder.urem(batch, count)
        with Loop(builder, 0, count, 1, [as_value(0)], "tile") as loop:
            (first,) = loop.carried
            taller = builder.zext(builder.icmp_signed("<", loop.index, extra), I64)
            rows = builder.add(base, taller)
            builder.call(body.function, [*arrays, first, rows, batch])
            loop.update([builder.add(first, rows)])

    def _needs_run_without_rows(self, bodies: Sequence[Body]) -> bool:
        """Whether a call with n = 0 has outputs to write: sums over no rows, or other fixed sizes.

        Not where a size or an index that the kernels work with (B - 1) is none at all for n = 0.
        """
        if all(map(_vanishes, self.signature.outputs)):
            return False
        return all(
            _exists_without_rows(instruction)
            for body in bodies
            for instruction in body.variant.schedule.computation.instructions
        )

    def _workspace_size(self, bodies: Sequence[Body]) -> Bytes:
        if bodies[0].variant.batch is None:
            return bodies[0].arena.size
        composed = self._composed(self.name, bodies)
        if composed is not None:
            return Bytes.trimmed([composed.workspace])
        return Bytes.trimmed([max(round_up(b.arena.size.at(b.variant.batch or 0)) for b in bodies)])

    def _workspace_function(self, size: Bytes) -> None:
        function = ir.Function(
            self.module, ir.FunctionType(I64, [I64]), f"{self.name}_workspace_bytes"
        )
        function.linkage = EXPORTED
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        (batch,) = function.args
        builder.ret(as_value(polynomial(builder, size.coefficients, batch)))


def _vanishes(spec: TensorSpec) -> bool:
    """Whether an output has no elements where there are no rows."""
    return any(not isinstance(d, ListedDim) and dim_at(d, 0) <= 0 for d in spec.dims)


def _exists_without_rows(instruction: Instruction) -> bool:
    """Whether an array has a size at B = 0, and a slice lies in its array."""
    if not isinstance(instruction.shape, Shape):
        return True
    if any(dim_at(d, 0) < 0 for d in instruction.shape.dims):
        return False
    if not isinstance(instruction.attrs, Slice):
        return True
    sizes = instruction.operands[0].array.dims
    bounds = zip(instruction.attrs.starts, instruction.attrs.limits, sizes, strict=True)
    return all(
        dim_at(start, 0) >= 0 and dim_at(limit, 0) <= dim_at(size, 0)
        for start, limit, size in bounds
    )
