"""Static batch sizes, composed to any other.

Input: the bodies of a model for some batch sizes. Output: a function that runs any number of rows
through them, part by part, the last padded with zeros where it is larger than what is left. The
parts come from a table made at compile time, or from the caller (`NAME_run_parts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.body import Body, batch_dimension
from tfaot.codegen.index import as_value
from tfaot.codegen.loops import for_range
from tfaot.codegen.microkernel import POINTER
from tfaot.codegen.types import I8, I32, I64
from tfaot.ir.shapes import BatchDim, Shape
from tfaot.schedule.composition import Composition
from tfaot.schedule.sizes import round_up
from tfaot.signature import Signature


@dataclass(frozen=True)
class ComposedBodies:
    """Emits the function for one instruction set.

    Attributes:
        module: where it goes.
        name: what its name begins with.
        signature: the model's inputs and outputs, rows first.
        bodies: one for each static size.
        composition: the parts of any number of rows.
        external: whether the bodies are given the address of the weights.
    """

    module: ir.Module
    name: str
    signature: Signature
    bodies: Sequence[Body]
    composition: Composition
    external: bool = False

    @property
    def _specs(self) -> list[Shape]:
        return [s.shape for s in (*self.signature.inputs, *self.signature.outputs)]

    @property
    def own_workspace(self) -> int:
        """Bytes that the bodies themselves take; the padded rows lie behind them."""
        return max(round_up(b.arena.size.at(b.variant.batch or 0)) for b in self.bodies)

    @property
    def workspace(self) -> int:
        """Bytes with a place for the rows of the largest size, which any rule may pad."""
        largest = self.composition.sizes[-1]
        return self.own_workspace + sum(round_up(row_bytes(s) * largest) for s in self._specs)

    def emit(self) -> ir.Function:
        """The function.

        Its parameters: batch; parts, which must be sizes of the model (null takes the table's);
        the arrays; the workspace; the address of the weights where they are outside.
        """
        pointers = len(self._specs)
        types = [I64, POINTER, *([POINTER] * (pointers + 1 + int(self.external)))]
        function = ir.Function(
            self.module, ir.FunctionType(ir.VoidType(), types), f"{self.name}.compose"
        )
        function.linkage = "internal"
        function.attributes.add("noinline")
        batch, parts, *arrays = function.args
        # What each body is given after its arrays: the workspace, perhaps the weights.
        arrays, shared = arrays[:pointers], arrays[pointers:]
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        head = builder.append_basic_block("part")
        more = builder.append_basic_block("part.more")
        latch = builder.append_basic_block("part.next")
        end = builder.append_basic_block("end")
        entry = builder.block
        builder.branch(head)
        builder.position_at_end(head)
        done, number = builder.phi(I64, name="done"), builder.phi(I64, name="number")
        left = builder.sub(batch, done)
        builder.cbranch(builder.icmp_signed(">", left, as_value(0)), more, end)
        builder.position_at_end(more)
        chosen = self._chosen(builder, parts, number, left)
        blocks = {size: builder.append_basic_block(f"rows{size}") for size in self._by_size}
        choice = builder.switch(chosen, end)
        for size, block in blocks.items():
            choice.add_case(as_value(size), block)
            builder.position_at_end(block)
            self._part(builder, size, arrays, shared, done, left)
            builder.branch(latch)
        builder.position_at_end(latch)
        after = builder.add(done, chosen)
        following = builder.add(number, as_value(1))
        builder.branch(head)
        for phi, first, then in ((done, as_value(0), after), (number, as_value(0), following)):
            phi.add_incoming(first, entry)
            phi.add_incoming(then, latch)
        builder.position_at_end(end)
        builder.ret_void()
        return function

    @property
    def _by_size(self) -> Mapping[int, Body]:
        return {body.variant.batch or 0: body for body in self.bodies}

    def _chosen(
        self, builder: ir.IRBuilder, parts: ir.Value, number: ir.Value, left: ir.Value
    ) -> ir.Value:
        """The size of the next part: the caller's, or the table's."""
        table, largest = self._table(), as_value(self.composition.sizes[-1])
        given = builder.icmp_unsigned("!=", parts, ir.Constant(POINTER, None))
        with builder.if_else(given) as (then, otherwise):
            with then:
                size = builder.load(builder.gep(parts, [number], source_etype=I64), typ=I64)
                from_caller = builder.block
            with otherwise:
                count = len(self.composition.table)
                known = builder.icmp_signed("<", left, as_value(count))
                index = builder.select(known, left, as_value(0))
                entry = builder.load(builder.gep(table, [index], source_etype=I32), typ=I32)
                found = builder.select(known, builder.zext(entry, I64), largest)
                from_table = builder.block
        chosen = builder.phi(I64)
        chosen.add_incoming(size, from_caller)
        chosen.add_incoming(found, from_table)
        return chosen

    def _table(self) -> ir.GlobalVariable:
        name = f"{self.module.name}.parts"
        known = self.module.globals.get(name)
        if isinstance(known, ir.GlobalVariable):
            return known
        table = self.composition.table
        type_ = ir.ArrayType(I32, len(table))
        variable = ir.GlobalVariable(self.module, type_, name)
        variable.initializer = ir.Constant(type_, [ir.Constant(I32, n) for n in table])
        variable.linkage = "internal"
        variable.global_constant = True
        return variable

    def _part(
        self,
        builder: ir.IRBuilder,
        size: int,
        arrays: Sequence[ir.Value],
        shared: Sequence[ir.Value],
        done: ir.Value,
        left: ir.Value,
    ) -> None:
        """Run `size` rows, through copies where fewer are left."""
        body, length = self._by_size[size], as_value(size)
        moved = [
            builder.gep(array, [builder.mul(done, as_value(row_bytes(s)))], source_etype=I8)
            for array, s in zip(arrays, self._specs, strict=True)
        ]
        with builder.if_else(builder.icmp_signed(">=", left, length)) as (whole, padded):
            with whole:
                builder.call(body.function, [*moved, *shared, as_value(0), length, length])
            with padded:
                self._padded(builder, body, size, moved, shared, left)

    def _padded(
        self,
        builder: ir.IRBuilder,
        body: Body,
        size: int,
        moved: Sequence[ir.Value],
        shared: Sequence[ir.Value],
        left: ir.Value,
    ) -> None:
        """Run the rows that are left through copies in the workspace, padded with zeros."""
        offset = self.own_workspace
        inputs = len(self.signature.inputs)
        places: list[ir.Value] = []
        for number, (shape, array) in enumerate(zip(self._specs, moved, strict=True)):
            row = row_bytes(shape)
            if row == 0:
                places.append(array)
                continue
            place = builder.gep(shared[0], [as_value(offset)], source_etype=I8)
            places.append(place)
            offset += round_up(row * size)
            if number < inputs:
                used = builder.mul(left, as_value(row))
                _copy(builder, place, array, used)
                start = builder.gep(place, [used], source_etype=I8)
                _copy(builder, start, None, builder.sub(as_value(row * size), used))
        length = as_value(size)
        builder.call(body.function, [*places, *shared, as_value(0), length, length])
        for number in range(inputs, len(self._specs)):
            row = row_bytes(self._specs[number])
            if row:
                _copy(builder, moved[number], places[number], builder.mul(left, as_value(row)))


def _copy(builder: ir.IRBuilder, to: ir.Value, source: ir.Value | None, size: ir.Value) -> None:
    """Copy bytes, or write zeros."""
    with for_range(builder, 0, size, 1, "byte") as position:
        value: ir.Value = ir.Constant(I8, 0)
        if source is not None:
            origin = builder.gep(source, [as_value(position)], source_etype=I8)
            value = builder.load(origin, typ=I8)
        builder.store(value, builder.gep(to, [as_value(position)], source_etype=I8))


def row_bytes(shape: Shape) -> int:
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
