"""The entry points of an artifact: NAME_run and NAME_workspace_bytes.

Input: the bodies of a model's variants. Output: the two functions. `NAME_run` checks its arguments
and chooses the instruction set; what it calls for that runs the body: once, or over tiles of rows
where rows are independent, so that activations stay in the cache and the workspace doesn't depend
on n. Static variants are composed to any n: the largest that fits again and again, the last padded
with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.body import Body, batch_dimension
from tfaot.codegen.dispatch import Dispatch, Level
from tfaot.codegen.index import as_value, polynomial
from tfaot.codegen.loops import Loop, for_range
from tfaot.codegen.microkernel import POINTER
from tfaot.codegen.types import I8, I32, I64
from tfaot.ir.attributes import Slice
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import BatchDim, Shape, dim_at
from tfaot.schedule.sizes import ALIGNMENT, NOTHING, Bytes, round_up
from tfaot.signature import ListedDim, Signature, TensorSpec

OK, NEGATIVE_BATCH, NULL_POINTER, MISALIGNED_WORKSPACE, BATCH_TOO_LARGE, UNKNOWN_BATCH = range(6)
UNSUPPORTED_CPU = 8
"""Status codes of NAME_run."""


@dataclass
class EntryEmitter:
    """Emits the entry points into a module.

    Attributes:
        module: where they go.
        name: the model's name.
        signature: its inputs and outputs.
        compose: whether static variants may be stitched together to other batch sizes.
    """

    module: ir.Module
    name: str
    signature: Signature
    compose: bool

    def evaluate(self, name: str, bodies: Sequence[Body]) -> ir.Function:
        """The function that runs the bodies for all rows; returns a status.

        Its parameters are those of NAME_run.
        """
        function = ir.Function(self.module, self._type(), f"{name}.evaluate")
        function.linkage = "internal"
        batch, *arrays = function.args
        workspace = arrays.pop()
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        if bodies[0].variant.batch is not None:
            self._compose(builder, bodies, batch, arrays, workspace)
        elif bodies[0].variant.tile is not None:
            self._tiles(builder, bodies, batch, arrays, workspace)
        else:
            arguments = [*arrays, workspace, as_value(0), batch, batch]
            builder.call(bodies[0].function, arguments)
        builder.ret(ir.Constant(I32, OK))
        return function

    def emit(self, levels: Sequence[Level], dispatch: Dispatch | None) -> Bytes:
        """Emit both functions; returns the size of the workspace."""
        bodies = levels[0].bodies
        size = self._workspace_size(bodies)
        assert all(self._workspace_size(level.bodies) == size for level in levels)
        self._run_function(size, levels, dispatch)
        self._workspace_function(size)
        return size

    def _type(self) -> ir.FunctionType:
        pointers = len(self.signature.inputs) + len(self.signature.outputs)
        return ir.FunctionType(I32, [I64, *([POINTER] * (pointers + 1))])

    def _run_function(
        self, size: Bytes, levels: Sequence[Level], dispatch: Dispatch | None
    ) -> None:
        function = ir.Function(self.module, self._type(), f"{self.name}_run")
        batch, *arrays = function.args
        workspace = arrays.pop()
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._check(builder, batch, arrays, workspace, size, levels[0].bodies)
        if dispatch is None:
            builder.ret(builder.call(levels[0].evaluate, function.args))
            return
        absent = function.append_basic_block("absent")
        choice = builder.switch(dispatch.chosen(builder), absent)
        for level in levels:
            block = function.append_basic_block(level.target.suffix)
            choice.add_case(ir.Constant(I32, level.target.level), block)
            builder.position_at_end(block)
            builder.ret(builder.call(level.evaluate, function.args))
        builder.position_at_end(absent)
        builder.ret(ir.Constant(I32, UNSUPPORTED_CPU))

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
        workspace: ir.Value,
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
            builder.call(body.function, [*arrays, workspace, first, rows, batch])
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

    # Static batch sizes

    def _compose(
        self,
        builder: ir.IRBuilder,
        bodies: Sequence[Body],
        batch: ir.Value,
        arrays: Sequence[ir.Value],
        workspace: ir.Value,
    ) -> None:
        ordered = sorted(bodies, key=lambda b: b.variant.batch or 0)
        for body in ordered:
            size = as_value(body.variant.batch or 0)
            with builder.if_then(builder.icmp_signed("==", batch, size)):
                builder.call(body.function, [*arrays, workspace, as_value(0), size, size])
                builder.ret(ir.Constant(I32, OK))
        if not (self.compose and self._rows_lead()):
            builder.ret(ir.Constant(I32, UNKNOWN_BATCH))
            builder.position_at_end(builder.append_basic_block("unreachable"))
            return
        head = builder.append_basic_block("stitch")
        more = builder.append_basic_block("stitch.more")
        latch = builder.append_basic_block("stitch.next")
        end = builder.append_basic_block("stitch.end")
        entry = builder.block
        builder.branch(head)
        builder.position_at_end(head)
        done = builder.phi(I64, name="done")
        left = builder.sub(batch, done)
        builder.cbranch(builder.icmp_signed(">", left, as_value(0)), more, end)
        builder.position_at_end(more)
        chosen: ir.Value = as_value(0)
        for body in ordered:
            size = as_value(body.variant.batch or 0)
            chosen = builder.select(builder.icmp_signed("<=", size, left), size, chosen)
        for body in ordered:
            size = as_value(body.variant.batch or 0)
            with builder.if_then(builder.icmp_signed("==", chosen, size)):
                moved = self._moved(builder, arrays, done)
                builder.call(body.function, [*moved, workspace, as_value(0), size, size])
                builder.branch(latch)
        self._padded(builder, ordered, arrays, workspace, done, left)
        builder.branch(end)
        builder.position_at_end(latch)
        done.add_incoming(as_value(0), entry)
        done.add_incoming(builder.add(done, chosen), latch)
        builder.branch(head)
        builder.position_at_end(end)

    def _rows_lead(self) -> bool:
        return all(s.rows_lead for s in (*self.signature.inputs, *self.signature.outputs))

    def _moved(
        self, builder: ir.IRBuilder, arrays: Sequence[ir.Value], rows: ir.Value
    ) -> list[ir.Value]:
        specs = [*self.signature.inputs, *self.signature.outputs]
        return [
            builder.gep(
                array, [builder.mul(rows, as_value(_row_bytes(spec.shape)))], source_etype=I8
            )
            for array, spec in zip(arrays, specs, strict=True)
        ]

    def _padded(
        self,
        builder: ir.IRBuilder,
        ordered: Sequence[Body],
        arrays: Sequence[ir.Value],
        workspace: ir.Value,
        done: ir.Value,
        left: ir.Value,
    ) -> None:
        """Run the rows that are left through copies in the workspace, padded with zeros."""
        body = ordered[0]
        size = body.variant.batch or 0
        specs = [*self.signature.inputs, *self.signature.outputs]
        offset = self._bodies_workspace(ordered)
        places: list[ir.Value] = []
        moved = self._moved(builder, arrays, done)
        for number, (spec, array) in enumerate(zip(specs, moved, strict=True)):
            row = _row_bytes(spec.shape)
            if row == 0:
                places.append(array)
                continue
            place = builder.gep(workspace, [as_value(offset)], source_etype=I8)
            places.append(place)
            offset += round_up(row * size)
            if number < len(self.signature.inputs):
                used = builder.mul(left, as_value(row))
                self._copy(builder, place, array, used)
                start = builder.gep(place, [used], source_etype=I8)
                self._copy(builder, start, None, builder.sub(as_value(row * size), used))
        length = as_value(size)
        builder.call(body.function, [*places, workspace, as_value(0), length, length])
        for number in range(len(self.signature.inputs), len(specs)):
            row = _row_bytes(specs[number].shape)
            if row:
                self._copy(builder, moved[number], places[number], builder.mul(left, as_value(row)))

    def _copy(
        self, builder: ir.IRBuilder, to: ir.Value, source: ir.Value | None, size: ir.Value
    ) -> None:
        """Copy bytes, or write zeros."""
        with for_range(builder, 0, size, 1, "byte") as position:
            value: ir.Value = ir.Constant(I8, 0)
            if source is not None:
                origin = builder.gep(source, [as_value(position)], source_etype=I8)
                value = builder.load(origin, typ=I8)
            builder.store(value, builder.gep(to, [as_value(position)], source_etype=I8))

    def _bodies_workspace(self, bodies: Sequence[Body]) -> int:
        return max(round_up(b.arena.size.at(b.variant.batch or 0)) for b in bodies)

    def _workspace_size(self, bodies: Sequence[Body]) -> Bytes:
        if bodies[0].variant.batch is None:
            return bodies[0].arena.size
        total = self._bodies_workspace(bodies)
        if self.compose and self._rows_lead():
            smallest = min(b.variant.batch or 0 for b in bodies)
            specs = [*self.signature.inputs, *self.signature.outputs]
            total += sum(round_up(_row_bytes(s.shape) * smallest) for s in specs)
        return Bytes.trimmed([total])

    def _workspace_function(self, size: Bytes) -> None:
        function = ir.Function(
            self.module, ir.FunctionType(I64, [I64]), f"{self.name}_workspace_bytes"
        )
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        (batch,) = function.args
        builder.ret(as_value(polynomial(builder, size.coefficients, batch)))


def _vanishes(spec: TensorSpec) -> bool:
    """Whether an output has no elements where there are no rows."""
    return any(not isinstance(d, ListedDim) and dim_at(d, 0) <= 0 for d in spec.dims)


def _row_bytes(shape: Shape) -> int:
    """Bytes per row of an array with a leading batch axis, 0 where it has none."""
    if batch_dimension(shape) != 0:
        return 0
    size = shape.dims[0]
    assert isinstance(size, BatchDim)
    count = size.scale
    for inner in shape.dims[1:]:
        assert isinstance(inner, int)
        count *= inner
    return count * shape.dtype.itemsize


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
