"""The body of a model: calls of all its kernels, for some rows.

Input: a schedule and where its parameters and outputs lie. Output: LLVM code that runs its kernels
in order; loops and conditionals run their own schedules inside, with their state in the workspace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llvmlite import ir

from tfaot.codegen.functions import KernelFunctions
from tfaot.codegen.index import as_value, polynomial
from tfaot.codegen.kernels.packing import packed_constants
from tfaot.codegen.loops import for_range
from tfaot.codegen.microkernel import POINTER
from tfaot.codegen.timers import Timers
from tfaot.codegen.types import I8, I32, I64
from tfaot.ir.attributes import Constant, Parameter
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import BatchDim, Shape
from tfaot.schedule.arena import Arena, control_layout, plan_arena, stored_results
from tfaot.schedule.control import carried_elements, state_reads
from tfaot.schedule.fusion import Kernel, Schedule, storage_of, tuple_elements
from tfaot.schedule.padding import row_lengths
from tfaot.schedule.sizes import NOTHING, Bytes
from tfaot.schedule.weights import WeightBlob
from tfaot.schedule.work import Work, kernel_work
from tfaot.signature import Signature


@dataclass(frozen=True)
class Variant:
    """A scheduled computation and the batch sizes that it serves.

    Attributes:
        schedule: its kernels.
        batch: the static batch size, None for any (or where nothing depends on B).
        tile: rows per call of its body where rows are independent; None runs all rows at once.
    """

    schedule: Schedule
    batch: int | None = None
    tile: int | None = None

    @property
    def rows(self) -> int | None:
        """The most rows of one call, None for any."""
        return self.tile if self.tile is not None else self.batch


@dataclass(frozen=True)
class KernelFacts:
    """What the manifest tells of a kernel.

    Attributes:
        name: its function.
        kind: what it is built around.
        layers: the model's layers that it evaluates.
        opcodes: the opcodes of its instructions, operands first.
        work: what it does in one call.
        batch: the static batch size that it is for, None for any.
    """

    name: str
    kind: str
    layers: tuple[str, ...]
    opcodes: tuple[str, ...]
    work: Work
    batch: int | None


@dataclass(frozen=True)
class Body:
    """The function of a variant, and its workspace."""

    variant: Variant
    function: ir.Function
    arena: Arena


@dataclass
class _Frame:
    """Where a schedule runs.

    Attributes:
        builder: where code goes.
        places: addresses of stored values, by instruction id.
        pitched: ids of arrays whose batch axis is not the first and holds all rows of the call.
        most_rows: the most rows of one call, None for any.
        rows: the rows of this call.
        whole: the rows of the whole call.
        workspace: the arena's first byte.
        weights: the blob's first byte.
    """

    builder: ir.IRBuilder
    places: dict[int, ir.Value]
    pitched: set[int]
    most_rows: int | None
    rows: ir.Value
    whole: ir.Value
    workspace: ir.Value
    weights: ir.Value

    def at(self, offset: Bytes) -> ir.Value:
        """The place `offset` bytes into the workspace."""
        distance = as_value(polynomial(self.builder, offset.coefficients, self.rows))
        return self.builder.gep(self.workspace, [distance], source_etype=I8)

    def inner(self, offset: Bytes, places: Mapping[int, ir.Value], pitched: set[int]) -> _Frame:
        """A frame for a called schedule, whose arena begins at `offset`."""
        return _Frame(
            self.builder,
            dict(places),
            pitched,
            self.most_rows,
            self.rows,
            self.whole,
            self.at(offset),
            self.weights,
        )


@dataclass
class BodyEmitter:
    """Emits bodies into a module.

    Attributes:
        functions: the kernels' functions.
        blob: the weights so far.
        blob_variable: the symbol of the weights; None where each body is given their address.
        facts: the kernels called so far.
        timers: what times each kernel, None in an artifact for production.
    """

    functions: KernelFunctions
    blob: WeightBlob
    blob_variable: ir.GlobalVariable | None
    facts: list[KernelFacts] = field(default_factory=list)
    timers: Timers | None = None
    _batch: int | None = None

    def emit(self, number: int, variant: Variant, signature: Signature) -> Body:
        """A function that runs all kernels for some rows.

        Its parameters: inputs, outputs, workspace, the weights where they have no symbol, first
        row, rows, all rows (n).
        """
        schedule = variant.schedule
        self._batch = variant.batch
        pointers = len(signature.inputs) + len(signature.outputs)
        given = int(self.blob_variable is None)
        types = [*([POINTER] * (pointers + 1 + given)), I64, I64, I64]
        name = f"{self.functions.name}.body{number}"
        function = ir.Function(self.functions.module, ir.FunctionType(ir.VoidType(), types), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        inputs = function.args[: len(signature.inputs)]
        outputs = function.args[len(signature.inputs) : pointers]
        workspace, *weights, first, rows, whole = function.args[pointers:]
        blob = self.blob_variable or weights[0]
        arena = plan_arena(schedule, variant.rows)
        frame = _Frame(builder, {}, set(), variant.rows, rows, whole, workspace, blob)

        def place(array: Instruction, pointer: ir.Value) -> None:
            if variant.tile is not None:
                if batch_dimension(array.array) not in (None, 0):
                    frame.pitched.add(id(array))
                pointer = _row_pointer(builder, pointer, array.array, first, whole)
            frame.places[id(array)] = pointer

        for parameter in schedule.computation.parameters:
            place(parameter, inputs[parameter.attr(Parameter).number])
        for output, pointer in zip(schedule.outputs, outputs, strict=True):
            place(output, pointer)
        self._run(schedule, arena, frame)
        builder.ret_void()
        return Body(variant, function, arena)

    def _run(self, schedule: Schedule, arena: Arena, frame: _Frame) -> None:
        """Emit all kernels of a schedule whose parameters and outputs are placed."""
        packed, rows = packed_constants(schedule), row_lengths(schedule)
        self._place_constants(frame, schedule, packed)
        for kernel in schedule.kernels:
            for result in stored_results(kernel):
                if id(result) not in frame.places:
                    frame.places[id(result)] = frame.at(arena.offsets[id(result)])
        for kernel in schedule.kernels:
            offset = arena.offsets.get(id(kernel), NOTHING)
            match kernel.root.opcode:
                case "while":
                    self._while(kernel, offset, frame)
                case "conditional":
                    self._conditional(kernel, offset, frame)
                case _:
                    function = self.functions.get(kernel, packed, frozenset(frame.pitched), rows)
                    self._call(kernel, function, offset, frame)

    def _call(self, kernel: Kernel, function: ir.Function, offset: Bytes, frame: _Frame) -> None:
        arrays = [*kernel.leaves, *stored_results(kernel)]
        addresses = [frame.places[id(storage_of(a))] for a in arrays]
        arguments = [*addresses, frame.at(offset), frame.rows, frame.whole]
        if self.timers is None:
            frame.builder.call(function, arguments)
        else:
            with self.timers.timed(frame.builder, len(self.facts)):
                frame.builder.call(function, arguments)
        opcodes = tuple(member.opcode for member in kernel.members)
        self.facts.append(
            KernelFacts(
                function.name, kernel.kind, kernel.layers, opcodes, kernel_work(kernel), self._batch
            )
        )

    def _place_constants(self, frame: _Frame, schedule: Schedule, packed: frozenset[int]) -> None:
        constants: dict[int, Instruction] = {}
        for kernel in schedule.kernels:
            for leaf in kernel.leaves:
                stored = storage_of(leaf)
                if stored.opcode == "constant":
                    constants[id(stored)] = stored
        # Large arrays first: the few bytes that alignment costs are then spent once.
        order = sorted(constants.values(), key=lambda c: -c.attr(Constant).value.nbytes)
        for constant in order:
            attrs = constant.attr(Constant)
            offset = self.blob.add(attrs.value, packed=id(constant) in packed, origin=attrs.origin)
            frame.places[id(constant)] = frame.builder.gep(
                frame.weights, [as_value(offset)], source_etype=I8
            )

    # Control flow

    def _while(self, kernel: Kernel, offset: Bytes, frame: _Frame) -> None:
        """Run the body while the condition holds, on two sets of buffers in turn."""
        condition, body = kernel.called
        layout = control_layout(kernel, frame.most_rows)
        builder = frame.builder
        initial = tuple_elements(kernel.root.operands[0])
        carried = carried_elements(kernel.root)
        scratch = frame.inner(offset, {}, set())
        first = self._state_places(kernel, carried, layout.state, scratch, frame)
        other = [None if o is None else scratch.at(o) for o in layout.other]
        for number, place in zip(carried, first, strict=True):
            self._copy(frame, place, initial[number])
        entry = builder.block
        head = builder.append_basic_block("while")
        run = builder.append_basic_block("while.body")
        done = builder.append_basic_block("while.done")
        builder.branch(head)
        builder.position_at_end(head)
        current: list[ir.Value] = []
        following: list[ir.Value] = []
        phis: list[tuple[ir.PhiInstr, ir.PhiInstr, ir.Value, ir.Value]] = []
        for place, second in zip(first, other, strict=True):
            if second is None:
                current.append(place)
                following.append(place)
                continue
            now, after = builder.phi(POINTER), builder.phi(POINTER)
            phis.append((now, after, place, second))
            current.append(now)
            following.append(after)

        def enter(schedule: Schedule) -> _Frame:
            inner = scratch.inner(layout.base, {}, set())
            state = dict(zip(carried, current, strict=True))
            for number, reads in state_reads(schedule.computation).items():
                stored = storage_of(initial[number])
                for read in reads:
                    inner.places[id(read)] = state.get(number) or frame.places[id(stored)]
                    if number not in state and id(stored) in frame.pitched:
                        inner.pitched.add(id(read))
            return inner

        inner = enter(condition)
        flag = scratch.at(layout.flag)
        inner.places[id(condition.outputs[0])] = flag
        self._run(condition, layout.called[0], inner)
        value = builder.load(flag, typ=I8)
        builder.cbranch(builder.icmp_unsigned("!=", value, ir.Constant(I8, 0)), run, done)
        builder.position_at_end(run)
        inner = enter(body)
        for output, place in zip(body.outputs, following, strict=True):
            inner.places[id(output)] = place
        self._run(body, layout.called[1], inner)
        latch = builder.block
        builder.branch(head)
        for now, after, place, second in phis:
            now.add_incoming(place, entry)
            now.add_incoming(after, latch)
            after.add_incoming(second, entry)
            after.add_incoming(now, latch)
        builder.position_at_end(done)
        for number, place, last in zip(carried, first, current, strict=True):
            if last is not place and kernel.results[number] is not None:
                with builder.if_then(builder.icmp_unsigned("!=", last, place)):
                    self._copy(frame, place, initial[number], source=last)

    def _conditional(self, kernel: Kernel, offset: Bytes, frame: _Frame) -> None:
        """Run the one branch that is chosen."""
        builder = frame.builder
        layout = control_layout(kernel, frame.most_rows)
        scratch = frame.inner(offset, {}, set())
        chooser, *arguments = kernel.root.operands
        count = len(kernel.called)
        numbers = tuple(range(len(kernel.called[0].outputs)))
        results = self._state_places(kernel, numbers, layout.state, scratch, frame)
        address = frame.places[id(storage_of(chooser))]
        if chooser.array.dtype is DType.PRED:
            raw = builder.load(address, typ=I8)
            zero = builder.icmp_unsigned("==", raw, ir.Constant(I8, 0))
            choice = builder.zext(zero, I32)
        else:
            choice = builder.load(address, typ=I32)
            last = ir.Constant(I32, count - 1)
            choice = builder.select(builder.icmp_unsigned("<", choice, last), choice, last)
        done = builder.append_basic_block("conditional.done")
        blocks = [builder.append_basic_block(f"branch{n}") for n in range(count)]
        switch = builder.switch(choice, blocks[-1])
        for n, block in enumerate(blocks[:-1]):
            switch.add_case(ir.Constant(I32, n), block)
        for n, (block, branch) in enumerate(zip(blocks, kernel.called, strict=True)):
            builder.position_at_end(block)
            inner = scratch.inner(layout.base, {}, set())
            elements = tuple_elements(arguments[n])
            for number, reads in state_reads(branch.computation).items():
                stored = storage_of(elements[number])
                for read in reads:
                    inner.places[id(read)] = frame.places[id(stored)]
                    if id(stored) in frame.pitched:
                        inner.pitched.add(id(read))
            for output, place in zip(branch.outputs, results, strict=True):
                inner.places[id(output)] = place
            self._run(branch, layout.called[n], inner)
            builder.branch(done)
        builder.position_at_end(done)

    def _state_places(
        self,
        kernel: Kernel,
        numbers: Sequence[int],
        offsets: Sequence[Bytes | None],
        scratch: _Frame,
        frame: _Frame,
    ) -> list[ir.Value]:
        """Where a control kernel's results go: places of their own, or in its scratch."""
        places = []
        for number, offset in zip(numbers, offsets, strict=True):
            result = kernel.results[number]
            if offset is not None:
                places.append(scratch.at(offset))
            else:
                assert result is not None
                places.append(frame.places[id(result)])
        return places

    def _copy(
        self,
        frame: _Frame,
        to: ir.Value,
        value: Instruction,
        source: ir.Value | None = None,
    ) -> None:
        """Copy the array `value` (or one like it at `source`) to `to`."""
        builder = frame.builder
        if source is None:
            source = frame.places[id(storage_of(value))]
        size = Bytes.of(value.array.dims, value.array.dtype.itemsize)
        length = as_value(polynomial(builder, size.coefficients, frame.rows))
        builder.call(
            copy_function(self.functions.module, self.functions.name), [to, source, length]
        )


def copy_function(module: ir.Module, name: str) -> ir.Function:
    """An internal function that copies bytes: to, from, how many."""
    full = f"{name}.copy"
    known = module.globals.get(full)
    if isinstance(known, ir.Function):
        return known
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64]), full)
    function.linkage = "internal"
    function.attributes.add("noinline")
    to, source, size = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    block = ir.VectorType(I64, 8)
    width = 64
    whole = builder.and_(size, as_value(-width))
    with for_range(builder, 0, whole, width, "block") as position:
        at = [as_value(position)]
        value = builder.load(builder.gep(source, at, source_etype=I8), typ=block, align=1)
        builder.store(value, builder.gep(to, at, source_etype=I8), align=1)
    with for_range(builder, whole, size, 1, "byte") as position:
        at = [as_value(position)]
        value = builder.load(builder.gep(source, at, source_etype=I8), typ=I8)
        builder.store(value, builder.gep(to, at, source_etype=I8))
    builder.ret_void()
    return function


def batch_dimension(shape: Shape) -> int | None:
    """The first dimension that depends on B."""
    return next((d for d, size in enumerate(shape.dims) if isinstance(size, BatchDim)), None)


def _row_pointer(
    builder: ir.IRBuilder, pointer: ir.Value, shape: Shape, first: ir.Value, whole: ir.Value
) -> ir.Value:
    """Where row `first` begins in an array whose batch axis has room for all rows."""
    dimension = batch_dimension(shape)
    if dimension is None:
        return pointer
    size = shape.dims[dimension]
    assert isinstance(size, BatchDim)
    stride = shape.dtype.itemsize * size.scale
    for inner in shape.dims[dimension + 1 :]:
        assert isinstance(inner, int), "one batch axis"
        stride *= inner
    offset = builder.mul(first, as_value(stride))
    return builder.gep(pointer, [offset], source_etype=I8)
