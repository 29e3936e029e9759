"""Values of fused instructions at given indices.

Input: an instruction, an index per dimension (`codegen.index`), and the leaves: the instructions
whose values lie in memory. Output: LLVM code for the value at these indices, 16 lanes or one.

Every opcode that can be part of an expression registers a rule here (`@rule("add")`), in the file
of its family: `elementwise`, `movement`, `gather`. A rule gets the emitter, the instruction and the
indices, and asks the emitter for its operands' values at the indices that it derives from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.index import Affine, Index, IndexBuilder, Lanes, Sizes, as_value
from tfaot.codegen.types import (
    I1,
    I8,
    I32,
    LiteralConstant,
    lane_count,
    memory_element,
    register_element,
)
from tfaot.codegen.vector import VectorBuilder
from tfaot.errors import UnsupportedError
from tfaot.ir.attributes import Constant, CustomCall
from tfaot.ir.module import Computation, Instruction
from tfaot.ir.shapes import Dim, Shape, product

LANES = 16

Rule = Callable[["Expression", Instruction, tuple[Index, ...]], ir.Value]
RULES: dict[str, Rule] = {}


def rule(*opcodes: str) -> Callable[[Rule], Rule]:
    """Register how values of `opcodes` are emitted."""

    def register(function: Rule) -> Rule:
        for opcode in opcodes:
            assert opcode not in RULES, opcode
            RULES[opcode] = function
        return function

    return register


COMPLEX_RULES: dict[str, Rule] = {}
"""Rules for instructions with a complex result or operand; `RULES` has the others."""


def complex_rule(*opcodes: str) -> Callable[[Rule], Rule]:
    """Register how values of `opcodes` with a complex result or operand are emitted."""

    def register(function: Rule) -> Rule:
        for opcode in opcodes:
            assert opcode not in COMPLEX_RULES, opcode
            COMPLEX_RULES[opcode] = function
        return function

    return register


@dataclass(frozen=True)
class Leaf:
    """An array in memory, row-major.

    Attributes:
        pointer: its first element.
        shape: type and dimensions.
        pitch: sizes that its strides are made of, where these are not the dimensions' own (an
            input or output whose batch axis is not the first, seen through a tile of rows).
        row: elements from one row to the next, where that is not the last dimension
            (`schedule.padding`).
    """

    pointer: ir.Value
    shape: Shape
    pitch: Sizes | None = None
    row: int | None = None


Override = Callable[[tuple[Index, ...]], ir.Value]


class Expression:
    """Emits values within one basic block.

    Args:
        vector: where code goes.
        sizes: run-time values of dimensions.
        leaves: the arrays in memory, by instruction id.
        overrides: values that the kernel already has (the reduction or dot that it is built
            around), by instruction id.
        mask: lanes that are active (<16 x i1>), None for all: no memory is touched for the others.
        lanes: lanes of the vectorised dimension.
    """

    def __init__(
        self,
        vector: VectorBuilder,
        sizes: Sizes,
        leaves: Mapping[int, Leaf],
        overrides: Mapping[int, Override] | None = None,
        mask: ir.Value | None = None,
        lanes: int = LANES,
    ) -> None:
        self.vector = vector
        self.index = IndexBuilder(vector, sizes, lanes)
        self.leaves = leaves
        self.overrides = overrides or {}
        self.mask = mask
        self.lanes = lanes
        self._values: dict[tuple[object, ...], ir.Value] = {}

    def value(self, instruction: Instruction, indices: Sequence[Index]) -> ir.Value:
        """The value at `indices`: a scalar where these are the same for all lanes, else a vector.

        Values are in register form (see `codegen.vector`).
        """
        shape = instruction.array
        indices = tuple(
            Affine(0) if dim == 1 else index for dim, index in zip(shape.dims, indices, strict=True)
        )
        key = (id(instruction), indices)
        known = self._values.get(key)
        if known is None:
            known = self._values[key] = self._emit(instruction, indices)
        return known

    def _emit(self, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
        override = self.overrides.get(id(instruction))
        if override is not None:
            return override(indices)
        leaf = self.leaves.get(id(instruction))
        if leaf is not None:
            return self.load(leaf, indices)
        emit = RULES.get(instruction.opcode)
        if any(_is_complex(x) for x in (instruction, *instruction.operands)):
            emit = COMPLEX_RULES.get(instruction.opcode, emit)
        if emit is None:
            raise unsupported(instruction)
        return emit(self, instruction, indices)

    def computes(self, instruction: Instruction) -> bool:
        """Whether an instruction's value is made of its operands here, not loaded or given."""
        key = id(instruction)
        return key not in self.overrides and key not in self.leaves

    # Memory

    def address(self, leaf: Leaf, indices: Sequence[Index]) -> Affine | Lanes:
        """The position, in elements, of an array's element."""
        if leaf.row is not None:
            rows = self.index.join(leaf.shape.dims[:-1], indices[:-1])
            start = self.index.scale(rows, leaf.row)
            return self.index.evaluate(self.index.sum(start, indices[-1]))
        if leaf.pitch is None:
            return self.index.evaluate(self.index.join(leaf.shape.dims, indices))
        total: Index = Affine(0)
        stride: ir.Value | int = 1
        for dim, index in reversed(list(zip(leaf.shape.dims, indices, strict=True))):
            index = self.index.evaluate(index)
            if isinstance(stride, int):
                scaled: Index = self.index.scale(index, stride)
            elif isinstance(index, Affine) and index.stride == 0:
                scaled = Affine(self.index.mul(index.base, stride))
            else:
                lanes = self.index.lane_values(index)
                scaled = Lanes(self.vector.ir.mul(lanes, self.index.splat(stride)))
            total = self.index.sum(total, scaled)
            extent = leaf.pitch.value(self.vector.ir, dim)
            stride = self.index.mul(stride, extent)
        return self.index.evaluate(total)

    def load(self, leaf: Leaf, indices: Sequence[Index]) -> ir.Value:
        """The element of an array, in register form."""
        dtype = leaf.shape.dtype
        if dtype.is_complex:
            return self._load_complex(leaf, indices)
        element = memory_element(dtype)
        position = self.address(leaf, indices)
        builder = self.vector.ir
        if isinstance(position, Affine) and position.stride in (0, 1):
            pointer = builder.gep(leaf.pointer, [as_value(position.base)], source_etype=element)
            raw: ir.Value
            if position.stride == 0:
                raw = builder.load(pointer, typ=element, align=dtype.itemsize)
            else:
                raw = self._load_lanes(pointer, element, dtype.itemsize)
            return self.vector.from_memory(raw, dtype)
        offsets = self.index.lane_values(position)
        pointers = self._pointers(leaf, offsets)
        raw = self._gather(pointers, element, dtype.itemsize)
        return self.vector.from_memory(raw, dtype)

    def _load_lanes(self, pointer: ir.Value, element: ir.Type, align: int) -> ir.Value:
        type_ = ir.VectorType(element, self.lanes)
        if self.mask is None:
            return self.vector.ir.load(pointer, typ=type_, align=align)
        masks = ir.VectorType(I1, self.lanes)
        function = self._declare(
            f"llvm.masked.load.{_suffix(type_)}.p0", type_, [pointer.type, I32, masks, type_]
        )
        zero = self.vector.const(type_, 0)
        return self.vector.ir.call(function, [pointer, ir.Constant(I32, align), self.mask, zero])

    def _gather(self, pointers: ir.Value, element: ir.Type, align: int) -> ir.Value:
        type_ = ir.VectorType(element, self.lanes)
        masks = ir.VectorType(I1, self.lanes)
        function = self._declare(
            f"llvm.masked.gather.{_suffix(type_)}.v{self.lanes}p0",
            type_,
            [pointers.type, I32, masks, type_],
        )
        mask = self.vector.const(masks, 1) if self.mask is None else self.mask
        zero = self.vector.const(type_, 0)
        return self.vector.ir.call(function, [pointers, ir.Constant(I32, align), mask, zero])

    def store(self, leaf: Leaf, indices: Sequence[Index], value: ir.Value) -> None:
        """Write a value in register form to an array; inactive lanes are left alone."""
        dtype = leaf.shape.dtype
        if dtype.is_complex:
            self._store_complex(leaf, indices, value)
            return
        element = memory_element(dtype)
        position = self.address(leaf, indices)
        builder = self.vector.ir
        if isinstance(position, Affine) and position.stride == 0:
            assert lane_count(value.type) is None, "all lanes would be written to one place"
            pointer = builder.gep(leaf.pointer, [as_value(position.base)], source_etype=element)
            builder.store(self.vector.to_memory(value, dtype), pointer, align=dtype.itemsize)
            return
        raw = self.vector.to_memory(self.widen(value), dtype)
        masks = ir.VectorType(I1, self.lanes)
        align = ir.Constant(I32, dtype.itemsize)
        if isinstance(position, Affine) and position.stride == 1:
            pointer = builder.gep(leaf.pointer, [as_value(position.base)], source_etype=element)
            if self.mask is None:
                builder.store(raw, pointer, align=dtype.itemsize)
                return
            if str(self.mask) == str(self.vector.lanes(I1, [n == 0 for n in range(self.lanes)])):
                # LLVM for AVX-512 makes of it a store of the register's width, not of memory's.
                first = builder.extract_element(raw, as_value(0))
                builder.store(first, pointer, align=dtype.itemsize)
                return
            function = self._declare(
                f"llvm.masked.store.{_suffix(raw.type)}.p0",
                ir.VoidType(),
                [raw.type, pointer.type, I32, masks],
            )
            builder.call(function, [raw, pointer, align, self.mask])
            return
        offsets = self.index.lane_values(position)
        pointers = self._pointers(leaf, offsets)
        function = self._declare(
            f"llvm.masked.scatter.{_suffix(raw.type)}.v{self.lanes}p0",
            ir.VoidType(),
            [raw.type, pointers.type, I32, masks],
        )
        mask = self.vector.const(masks, 1) if self.mask is None else self.mask
        builder.call(function, [raw, pointers, align, mask])

    def _load_complex(self, leaf: Leaf, indices: Sequence[Index]) -> ir.Value:
        """Both parts; neighbouring elements are loaded as one vector of twice the lanes."""
        v, view = self.vector, _parts_view(leaf)
        position = self.address(view, (*indices, Affine(0)))
        if not (isinstance(position, Affine) and position.stride == 2):
            return v.pair(*(self.load(view, (*indices, Affine(part))) for part in range(2)))
        both = self._doubled().load(_flat(view), (Affine(position.base, 1),))
        none = LiteralConstant(both.type, "poison")
        halves = []
        for part in range(2):
            chosen = [2 * lane + part for lane in range(self.lanes)]
            mask = ir.Constant(ir.VectorType(I32, self.lanes), chosen)
            halves.append(v.ir.shuffle_vector(both, none, mask))
        return v.pair(*halves)

    def _store_complex(self, leaf: Leaf, indices: Sequence[Index], value: ir.Value) -> None:
        view = _parts_view(leaf)
        parts = self.vector.parts(value)
        position = self.address(view, (*indices, Affine(0)))
        if not (isinstance(position, Affine) and position.stride == 2):
            for part in range(2):
                self.store(view, (*indices, Affine(part)), parts[part])
            return
        real, imaginary = map(self.widen, parts)
        chosen = [part * self.lanes + lane for lane in range(self.lanes) for part in range(2)]
        mask = ir.Constant(ir.VectorType(I32, 2 * self.lanes), chosen)
        both = self.vector.ir.shuffle_vector(real, imaginary, mask)
        self._doubled().store(_flat(view), (Affine(position.base, 1),), both)

    def _doubled(self) -> Expression:
        """An emitter of twice the lanes, two for each of this one's."""
        mask = self.mask
        if mask is not None:
            twice = [lane // 2 for lane in range(2 * self.lanes)]
            chosen = ir.Constant(ir.VectorType(I32, 2 * self.lanes), twice)
            mask = self.vector.ir.shuffle_vector(mask, mask, chosen)
        return Expression(self.vector, self.index.sizes, {}, mask=mask, lanes=2 * self.lanes)

    def _pointers(self, leaf: Leaf, offsets: ir.Value) -> ir.Value:
        """The address of one element per lane."""
        element = memory_element(leaf.shape.dtype)
        pointers = self.vector.ir.gep(leaf.pointer, [offsets], source_etype=element)
        # llvmlite takes the result for one pointer, while LLVM gives one for each index.
        pointers.type = ir.VectorType(leaf.pointer.type, self.lanes)
        return pointers

    def _declare(self, name: str, result: ir.Type, parameters: Sequence[ir.Type]) -> ir.Function:
        module = self.vector.ir.module
        known = module.globals.get(name)
        if known is None:
            known = ir.Function(module, ir.FunctionType(result, parameters), name)
        assert isinstance(known, ir.Function)
        return known

    # Lanes

    def widen(self, value: ir.Value) -> ir.Value:
        """`value` as a vector."""
        return value if lane_count(value.type) else self.vector.splat(value, self.lanes)

    def alike(self, *values: ir.Value) -> list[ir.Value]:
        """The values, all scalars or all vectors."""
        if any(lane_count(v.type) for v in values):
            return [self.widen(v) for v in values]
        return list(values)

    def constant(self, shape: Shape, number: complex) -> ir.Value:
        """A scalar constant of the type of `shape`."""
        if shape.dtype.is_complex:
            number = complex(number)
            part = register_element(shape.dtype.real)
            real, imaginary = (self.vector.const(part, x) for x in (number.real, number.imag))
            return self.vector.pair(real, imaginary)
        assert not isinstance(number, complex)
        return self.vector.const(register_element(shape.dtype), number)

    def apply(self, computation: Computation, arguments: Sequence[ir.Value]) -> ir.Value:
        """The result of a computation on scalars, lane by lane."""
        return self.apply_all(computation, arguments)[0]

    def apply_all(self, computation: Computation, arguments: Sequence[ir.Value]) -> list[ir.Value]:
        """The results of a computation on scalars (several where its root is a tuple)."""
        bound = {
            id(p): (lambda _, value=value: value)
            for p, value in zip(computation.parameters, arguments, strict=True)
        }
        inner = Expression(
            self.vector, self.index.sizes, {}, bound, mask=self.mask, lanes=self.lanes
        )
        root = computation.root
        roots = root.operands if root.opcode == "tuple" else (root,)
        return [inner.value(r, ()) for r in roots]


@rule("constant")
def _constant(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    value = instruction.attr(Constant).value
    assert value.size == 1, "larger constants are leaves"
    return e.constant(instruction.array, value.reshape(-1)[0].item())


def unsupported(instruction: Instruction) -> UnsupportedError:
    """The error for an op that code generation lacks; names op, shapes and layer."""
    operands = ", ".join(str(o.shape) for o in instruction.operands)
    layer = instruction.metadata.op_name or "unknown"
    opcode = f"'{instruction.opcode}'"
    if isinstance(instruction.attrs, CustomCall):
        opcode += f" of '{instruction.attrs.target}'"
    return UnsupportedError(
        f"code generation lacks {opcode} ({operands}) -> {instruction.shape}, in layer '{layer}'"
    )


def _is_complex(instruction: Instruction) -> bool:
    return isinstance(instruction.shape, Shape) and instruction.shape.dtype.is_complex


def _parts_view(leaf: Leaf) -> Leaf:
    """A complex array as one of real numbers, with real and imaginary part as last dimension."""
    shape = Shape(leaf.shape.dtype.real, (*leaf.shape.dims, 2))
    return Leaf(leaf.pointer, shape, leaf.pitch)


def _flat(leaf: Leaf) -> Leaf:
    """An array seen as one dimension, whose size does not matter."""
    return Leaf(leaf.pointer, Shape(leaf.shape.dtype, (2**31,)))


def _suffix(type_: ir.Type) -> str:
    assert isinstance(type_, ir.VectorType)
    element = type_.element
    if isinstance(element, ir.IntType):
        return f"v{type_.count}i{element.width}"
    return f"v{type_.count}{'f64' if isinstance(element, ir.DoubleType) else 'f32'}"


def total_size(dims: tuple[Dim, ...]) -> Dim:
    """The number of elements of an array of dimensions `dims`."""
    return product(dims)


__all__ = [
    "I8",
    "LANES",
    "RULES",
    "Expression",
    "Leaf",
    "Override",
    "complex_rule",
    "rule",
    "unsupported",
]
