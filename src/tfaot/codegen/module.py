"""The functions of an artifact: one per distinct kernel, a body per variant, and the entry points.

Input: variants of a model (one symbolic, or one per static batch size), each a scheduled
computation, and a target. Output: LLVM IR text, the weight blob, and facts about both.

`NAME_run` checks its arguments, then calls the body: once, or over tiles of rows where rows are
independent, so that activations stay in the cache and the workspace doesn't depend on n. Static
variants are composed to any n: the largest that fits again and again, the last padded with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.expression import Leaf
from tfaot.codegen.index import Sizes, as_value, polynomial
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.dot import is_packable
from tfaot.codegen.kernels.emit import emit_kernel
from tfaot.codegen.kernels.identity import kernel_key
from tfaot.codegen.loops import Loop, for_range
from tfaot.codegen.microkernel import POINTER, Microkernels
from tfaot.codegen.target import Target
from tfaot.codegen.vector import I8, I32, I64
from tfaot.errors import TfaotError, UnsupportedError
from tfaot.ir.attributes import Constant, Parameter
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import BatchDim, Shape
from tfaot.schedule.arena import Arena, plan_arena, stored_results
from tfaot.schedule.fusion import Kernel, Schedule, storage_of
from tfaot.schedule.scratch import scratch_bytes
from tfaot.schedule.sizes import ALIGNMENT, NOTHING, Bytes, round_up
from tfaot.schedule.weights import SLACK, WeightBlob
from tfaot.signature import Signature

OK, NEGATIVE_BATCH, NULL_POINTER, MISALIGNED_WORKSPACE, UNSUPPORTED_BATCH = range(5)
"""Status codes of NAME_run."""


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


@dataclass(frozen=True)
class KernelFacts:
    """What the manifest tells of a kernel: function, kind, layers, and how often it runs."""

    name: str
    kind: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class GeneratedModule:
    """LLVM IR of an artifact, without introspection data.

    Attributes:
        text: the IR; it refers to the blob by the local symbol `weights_symbol`.
        weights: the blob.
        weights_symbol: the blob's symbol.
        workspace: bytes of workspace, a polynomial in n.
        kernels: in the order in which they run.
    """

    text: str
    weights: bytes
    weights_symbol: str
    workspace: Bytes
    kernels: tuple[KernelFacts, ...]


def generate(
    name: str,
    signature: Signature,
    variants: Sequence[Variant],
    target: Target,
    *,
    compose: bool = True,
) -> GeneratedModule:
    """Generate the code of an artifact.

    Args:
        name: C identifier; symbols begin with it.
        signature: inputs and outputs with symbolic shapes.
        variants: one with batch None, or several with static sizes.
        target: the CPU.
        compose: whether static variants may be stitched together to other batch sizes.
    """
    return _ModuleEmitter(name, signature, tuple(variants), target, compose).generate()


@dataclass(frozen=True)
class _Body:
    variant: Variant
    function: ir.Function
    arena: Arena


class _ModuleEmitter:
    def __init__(
        self,
        name: str,
        signature: Signature,
        variants: tuple[Variant, ...],
        target: Target,
        compose: bool,
    ) -> None:
        self.name = name
        self.signature = signature
        self.variants = variants
        self.target = target
        self.compose = compose
        self.module = ir.Module(name)
        self.module.triple = target.triple
        self.weights_symbol = f"{name}_weights"
        self.blob = WeightBlob()
        self.blob_variable = ir.GlobalVariable(self.module, I8, self.weights_symbol)
        self.blob_variable.linkage = "external"
        self.blob_variable.global_constant = True
        self.blob_variable.storage_class = ""
        self.microkernels = Microkernels(self.module, target, name)
        self.kernels: dict[str, ir.Function] = {}
        self.facts: list[KernelFacts] = []

    def generate(self) -> GeneratedModule:
        bodies = [self._body(n, v) for n, v in enumerate(self.variants)]
        workspace = self._entry(bodies)
        self._workspace_function(workspace)
        return GeneratedModule(
            text=self._text(),
            weights=self.blob.to_bytes(),
            weights_symbol=self.weights_symbol,
            workspace=workspace,
            kernels=tuple(self.facts),
        )

    def _text(self) -> str:
        # Without library functions no loop becomes a call of memset or memcpy.
        for function in self.module.functions:
            if not function.is_declaration:
                set.add(function.attributes, '"no-builtins"')
                function.attributes.add("nounwind")
        text = str(self.module)
        old = f'@"{self.weights_symbol}" = external constant i8'
        assert old in text, text[:500]
        return text.replace(
            old, f'@"{self.weights_symbol}" = external hidden constant i8, align {ALIGNMENT}'
        )

    # Kernels

    def _kernel_function(
        self, kernel: Kernel, packed: frozenset[int], pitched: frozenset[int]
    ) -> ir.Function:
        def describe(array: Instruction) -> str:
            return " ".join(
                word
                for word, arrays in (("packed", packed), ("pitched", pitched))
                if id(array) in arrays
            )

        key = kernel_key(kernel, describe)
        if key not in self.kernels:
            name = f"{self.name}.kernel{len(self.kernels)}"
            self.kernels[key] = self._emit_kernel(kernel, name, packed, pitched)
        return self.kernels[key]

    def _emit_kernel(
        self, kernel: Kernel, name: str, packed: frozenset[int], pitched: frozenset[int]
    ) -> ir.Function:
        arrays = [*kernel.leaves, *kernel.results]
        count = sum(a is not None for a in arrays)

        def context_of(
            suffix: str, extra: Sequence[ir.Type]
        ) -> tuple[KernelContext, Sequence[ir.Value]]:
            types = [*([POINTER] * count), POINTER, I64, I64, *extra]
            function = ir.Function(
                self.module, ir.FunctionType(ir.VoidType(), types), f"{name}{suffix}"
            )
            function.linkage = "internal"
            function.attributes.add("noinline")
            for argument in function.args[: count + 1]:
                argument.add_attribute("noalias")
            pointers = iter(function.args)
            scratch, batch, whole_batch = function.args[count : count + 3]
            sizes, pitch = Sizes(batch), Sizes(whole_batch)

            def leaf(array: Instruction | None) -> Leaf | None:
                if array is None:
                    return None
                return Leaf(next(pointers), array.array, pitch if id(array) in pitched else None)

            leaves = {id(x): leaf(x) for x in kernel.leaves}
            results = [leaf(r) for r in kernel.results]
            context = KernelContext(
                kernel=kernel,
                target=self.target,
                builder=ir.IRBuilder(function.append_basic_block("entry")),
                sizes=sizes,
                leaves={k: v for k, v in leaves.items() if v is not None},
                results=results,
                microkernels=self.microkernels,
                packed=packed,
                parameters=function.args[: count + 3],
                scratch=None if scratch_bytes(kernel) == NOTHING else scratch,
                nested=lambda s, t: context_of(f".{s}", t),
            )
            return context, function.args[count + 3 :]

        context, _ = context_of("", [])
        try:
            emit_kernel(context)
        except TfaotError:
            raise
        except (AssertionError, NotImplementedError, KeyError, TypeError, ValueError) as error:
            root = kernel.root
            raise UnsupportedError(
                f"code generation failed for '{root.opcode}' {root.shape} "
                f"in layer '{root.metadata.op_name or 'unknown'}': {type(error).__name__} {error}"
            ) from error
        context.builder.ret_void()
        return context.builder.function

    # Bodies

    def _body(self, number: int, variant: Variant) -> _Body:
        """A function that runs all kernels for `batch` rows from row `first`.

        Its parameters: inputs, outputs, workspace, first row, rows, all rows (n).
        """
        schedule = variant.schedule
        signature = self.signature
        pointers = len(signature.inputs) + len(signature.outputs)
        types = [*([POINTER] * (pointers + 1)), I64, I64, I64]
        function = ir.Function(
            self.module, ir.FunctionType(ir.VoidType(), types), f"{self.name}.body{number}"
        )
        function.linkage = "internal"
        function.attributes.add("noinline")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        inputs = function.args[: len(signature.inputs)]
        outputs = function.args[len(signature.inputs) : pointers]
        workspace, first, rows, whole = function.args[pointers:]
        arena = plan_arena(schedule, variant.tile if variant.tile is not None else variant.batch)
        tiled = variant.tile is not None
        pitched: set[int] = set()
        places: dict[int, ir.Value] = {}

        def place_outer(array: Instruction, pointer: ir.Value) -> None:
            if tiled:
                if _batch_dimension(array.array) not in (None, 0):
                    pitched.add(id(array))
                pointer = _row_pointer(builder, pointer, array.array, first, whole)
            places[id(array)] = pointer

        for parameter in schedule.computation.parameters:
            place_outer(parameter, inputs[parameter.attr(Parameter).number])
        for output, pointer in zip(schedule.outputs, outputs, strict=True):
            place_outer(output, pointer)
        packed = _packed_constants(schedule)
        self._place_constants(builder, schedule, packed, places)
        for kernel in schedule.kernels:
            for result in stored_results(kernel):
                if id(result) not in places:
                    places[id(result)] = self._at(
                        builder, workspace, arena.offsets[id(result)], rows
                    )
        for kernel in schedule.kernels:
            target = self._kernel_function(kernel, packed, frozenset(pitched))
            arrays = [*kernel.leaves, *(r for r in kernel.results if r is not None)]
            addresses = [places[id(storage_of(a))] for a in arrays]
            offset = arena.offsets.get(id(kernel), NOTHING)
            scratch = self._at(builder, workspace, offset, rows)
            builder.call(target, [*addresses, scratch, rows, whole])
            self.facts.append(KernelFacts(target.name, kernel.kind, kernel.layers))
        builder.ret_void()
        return _Body(variant, function, arena)

    def _at(
        self, builder: ir.IRBuilder, base: ir.Value, offset: Bytes, batch: ir.Value
    ) -> ir.Value:
        """The place `offset` bytes after `base`."""
        distance = as_value(polynomial(builder, offset.coefficients, batch))
        return builder.gep(base, [distance], source_etype=I8)

    def _place_constants(
        self,
        builder: ir.IRBuilder,
        schedule: Schedule,
        packed: frozenset[int],
        places: dict[int, ir.Value],
    ) -> None:
        constants: dict[int, Instruction] = {}
        for kernel in schedule.kernels:
            for leaf in kernel.leaves:
                stored = storage_of(leaf)
                if stored.opcode == "constant":
                    constants[id(stored)] = stored
        # Large arrays first: the few bytes that alignment costs are then spent once.
        order = sorted(constants.values(), key=lambda c: -c.attr(Constant).value.nbytes)
        for constant in order:
            value = constant.attr(Constant).value
            offset = self.blob.add(value, packed=id(constant) in packed)
            places[id(constant)] = builder.gep(
                self.blob_variable, [as_value(offset)], source_etype=I8
            )

    # Entry points

    def _entry(self, bodies: Sequence[_Body]) -> Bytes:
        """Emit NAME_run; returns the workspace size."""
        signature = self.signature
        pointers = len(signature.inputs) + len(signature.outputs)
        types = [I64, *([POINTER] * (pointers + 1))]
        function = ir.Function(self.module, ir.FunctionType(I32, types), f"{self.name}_run")
        batch, *arrays = function.args
        workspace = arrays.pop()
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        size = self._workspace_size(bodies)
        self._check(builder, batch, arrays, workspace, size)
        if bodies[0].variant.batch is not None:
            self._compose(builder, bodies, batch, arrays, workspace)
        elif bodies[0].variant.tile is not None:
            self._tiles(builder, bodies[0], batch, arrays, workspace)
        else:
            arguments = [*arrays, workspace, as_value(0), batch, batch]
            builder.call(bodies[0].function, arguments)
        builder.ret(ir.Constant(I32, OK))
        return size

    def _check(
        self,
        builder: ir.IRBuilder,
        batch: ir.Value,
        arrays: Sequence[ir.Value],
        workspace: ir.Value,
        size: Bytes,
    ) -> None:
        zero = as_value(0)

        def leave_if(condition: ir.Value, status: int) -> None:
            with builder.if_then(condition, likely=False):
                builder.ret(ir.Constant(I32, status))

        leave_if(builder.icmp_signed("<", batch, zero), NEGATIVE_BATCH)
        if not self.needs_run_without_rows:
            leave_if(builder.icmp_signed("==", batch, zero), OK)
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
        body: _Body,
        batch: ir.Value,
        arrays: Sequence[ir.Value],
        workspace: ir.Value,
    ) -> None:
        """Call the body for tiles of equal height (by one row at most)."""
        tile = body.variant.tile
        assert tile is not None
        whole = builder.udiv(batch, as_value(tile))
        some = builder.icmp_unsigned("!=", builder.urem(batch, as_value(tile)), as_value(0))
        count = builder.add(whole, builder.zext(some, I64))
        if self.needs_run_without_rows:
            none = builder.icmp_signed("==", count, as_value(0))
            count = builder.select(none, as_value(1), count)
        base, extra = builder.udiv(batch, count), builder.urem(batch, count)
        with Loop(builder, 0, count, 1, [as_value(0)], "tile") as loop:
            (first,) = loop.carried
            taller = builder.zext(builder.icmp_signed("<", loop.index, extra), I64)
            rows = builder.add(base, taller)
            builder.call(body.function, [*arrays, workspace, first, rows, batch])
            loop.update([builder.add(first, rows)])

    @property
    def needs_run_without_rows(self) -> bool:
        """Whether a call with n = 0 has outputs to write: sums over no rows, or other fixed sizes.

        Not where a size that the kernels work with (B - 1) is none at all for n = 0.
        """
        shapes = [spec.shape for spec in self.signature.outputs]
        if all(any(dim_at(d, 0) <= 0 for d in shape.dims) for shape in shapes):
            return False
        computations = [v.schedule.computation for v in self.variants]
        return all(
            dim_at(d, 0) >= 0
            for computation in computations
            for instruction in computation.instructions
            if isinstance(instruction.shape, Shape)
            for d in instruction.shape.dims
        )

    # Static batch sizes

    def _compose(
        self,
        builder: ir.IRBuilder,
        bodies: Sequence[_Body],
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
            builder.ret(ir.Constant(I32, UNSUPPORTED_BATCH))
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
        specs = [*self.signature.inputs, *self.signature.outputs]
        for spec in specs:
            dims = spec.dims
            if any(isinstance(d, BatchDim) for d in dims[1:]):
                return False
            if dims and isinstance(dims[0], BatchDim) and dims[0].offset != 0:
                return False
        return True

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
        ordered: Sequence[_Body],
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

    def _bodies_workspace(self, bodies: Sequence[_Body]) -> int:
        return max(round_up(b.arena.size.at(b.variant.batch or 0)) for b in bodies)

    def _workspace_size(self, bodies: Sequence[_Body]) -> Bytes:
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


def _packed_constants(schedule: Schedule) -> frozenset[int]:
    """Constants that only tiled dots read, as their right-hand sides."""
    packable: set[int] = set()
    other: set[int] = set()
    for kernel in schedule.kernels:
        for member in kernel.members:
            for operand in member.operands:
                stored = storage_of(operand)
                if stored.opcode != "constant":
                    continue
                if member.opcode == "dot" and stored is operand and is_packable(member, operand):
                    packable.add(id(stored))
                else:
                    other.add(id(stored))
    return frozenset(packable - other)


def _batch_dimension(shape: Shape) -> int | None:
    """The first dimension that depends on B."""
    return next((d for d, size in enumerate(shape.dims) if isinstance(size, BatchDim)), None)


def _row_pointer(
    builder: ir.IRBuilder, pointer: ir.Value, shape: Shape, first: ir.Value, whole: ir.Value
) -> ir.Value:
    """Where row `first` begins in an array whose batch axis has room for all rows."""
    dimension = _batch_dimension(shape)
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


def _row_bytes(shape: Shape) -> int:
    """Bytes per row of an array with a leading batch axis, 0 where it has none."""
    if _batch_dimension(shape) != 0:
        return 0
    size = shape.dims[0]
    assert isinstance(size, BatchDim)
    count = size.scale
    for inner in shape.dims[1:]:
        assert isinstance(inner, int)
        count *= inner
    return count * shape.dtype.itemsize


__all__ = ["SLACK", "GeneratedModule", "KernelFacts", "Variant", "generate"]
