"""From HLO as read to the IR: fusions and calls inlined, layouts and tokens gone.

Input: a `RawModule`. Output: a `Module` whose arrays are all in logical, row-major order, whose
root is an array or a flat tuple of arrays, and which has no `copy`, `bitcast`, `fusion`, `call` or
token. HLO ops have logical semantics whatever the layout; `bitcast` alone sees physical bytes, so
it becomes the transposes and the reshape that it amounts to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tfaot.errors import InvalidModuleError, UnsupportedError
from tfaot.ir.attributes import Constant, CustomCall, GetTupleElement, Parameter, Transpose
from tfaot.ir.bounded import PAD_TO_STATIC, SLICE_TO_DYNAMIC, padded, with_sizes
from tfaot.ir.dtypes import DType
from tfaot.ir.inference.registry import polynomial
from tfaot.ir.module import Computation, Instruction, Module, make_computation, unique_names
from tfaot.ir.opcodes import OPCODES, STATEFUL
from tfaot.ir.raw import (
    Key,
    RawArray,
    RawComputation,
    RawInstruction,
    RawModule,
    RawShape,
    arrays,
    logical_shape,
    where,
)
from tfaot.ir.raw_attributes import attributes_of
from tfaot.ir.shapes import AnyShape, BatchDim, Dim, Shape, TupleShape, product

_ALIASES = {"optimization-barrier": "opt-barrier", "clz": "count-leading-zeros"}
_HANDS_ON = frozenset({"tuple", "get-tuple-element", "copy", "opt-barrier", "call", "fusion"})
"""Ops that may give an array whose size depends on the data, for they hand on their operand's."""

_MAX_DEPTH = 100


def normalise(raw: RawModule) -> Module:
    """The module in the IR.

    Raises:
        InvalidModuleError: references to what does not exist, recursion, missing attributes.
        UnsupportedError: stateful or host ops, data-dependent sizes, entry layouts that are not
            row-major.
    """
    entry = raw.computations.get(raw.entry)
    if entry is None:
        raise InvalidModuleError(f"module {raw.name} has no entry computation")
    _check_layouts(raw, entry)
    computation = _flat_root(_Normaliser(raw).computation(raw.entry), _root_arrays(entry))
    symbolic = any(
        _is_symbolic(i.shape)
        for c in Module(raw.name, computation).computations()
        for i in c.instructions
    )
    return Module(raw.name, computation, symbolic, dict(raw.metadata))


@dataclass(frozen=True)
class _Context:
    """What a handler may need besides the instruction."""

    raw: RawInstruction
    operand_shapes: tuple[RawShape, ...]
    operands: tuple[Instruction, ...]
    inline: Callable[[Key, tuple[Instruction, ...]], Instruction]
    resolve: Callable[[Key], Computation]

    def emit(
        self, opcode: str, shape: AnyShape, operand: Instruction, attrs: Transpose | None = None
    ) -> Instruction:
        """A one-operand instruction that stands for (a part of) the one read."""
        raw = self.raw
        return Instruction(raw.name, opcode, shape, (operand,), attrs, raw.metadata)


_Handler = Callable[[_Context], Instruction]
_HANDLERS: dict[str, _Handler] = {}


def _handles(*opcodes: str) -> Callable[[_Handler], _Handler]:
    def register(handler: _Handler) -> _Handler:
        for opcode in opcodes:
            _HANDLERS[opcode] = handler
        return handler

    return register


class _Normaliser:
    """Converts the computations of one module, each once."""

    def __init__(self, raw: RawModule) -> None:
        self._raw = raw
        self._done: dict[Key, Computation] = {}
        self._active: list[Key] = []

    def computation(self, key: Key) -> Computation:
        """The computation called `key`."""
        if key not in self._done:
            raw = self._find(key)
            parameters: dict[int, Instruction] = {}
            for instruction in raw.instructions:
                if instruction.opcode == "parameter":
                    number = instruction.integer("parameter_number")
                    if number in parameters:
                        raise instruction.error(f"parameter {number} occurs twice")
                    parameters[number] = Instruction(
                        instruction.name,
                        "parameter",
                        logical_shape(instruction.shape),
                        attrs=Parameter(number),
                        metadata=instruction.metadata,
                    )
            if sorted(parameters) != list(range(len(parameters))):
                raise InvalidModuleError(
                    f"computation %{raw.name}: parameters are numbered {sorted(parameters)}"
                )
            ordered = tuple(parameters[n] for n in range(len(parameters)))
            root = self._body(raw, ordered)
            self._done[key] = unique_names(make_computation(raw.name, root, ordered))
        return self._done[key]

    def inline(self, key: Key, arguments: tuple[Instruction, ...]) -> Instruction:
        """The result of computation `key` applied to `arguments`, in the caller's graph."""
        return self._body(self._find(key), arguments)

    def _find(self, key: Key) -> RawComputation:
        found = self._raw.computations.get(key)
        if found is None:
            raise InvalidModuleError(f"computation '{key}' is called but not defined")
        return found

    def _body(self, raw: RawComputation, arguments: tuple[Instruction, ...]) -> Instruction:
        if raw.key in self._active or len(self._active) > _MAX_DEPTH:
            raise InvalidModuleError(f"computation %{raw.name} calls itself or nests too deeply")
        self._active.append(raw.key)
        values: dict[Key, Instruction] = {}
        shapes: dict[Key, RawShape] = {}
        for instruction in raw.instructions:
            if instruction.key in values:
                raise instruction.error("is defined twice")
            for key in instruction.operands:
                if key not in values:
                    raise instruction.error(f"operand '{key}' is not defined before its use")
            if instruction.opcode == "parameter":
                value = _argument(instruction, arguments)
            else:
                operands = tuple(values[k] for k in instruction.operands)
                operand_shapes = tuple(shapes[k] for k in instruction.operands)
                value = _convert(
                    _Context(instruction, operand_shapes, operands, self.inline, self.computation)
                )
            values[instruction.key] = value
            shapes[instruction.key] = instruction.shape
        self._active.pop()
        if raw.root not in values:
            raise InvalidModuleError(f"computation %{raw.name} has no root")
        return values[raw.root]


def _argument(raw: RawInstruction, arguments: tuple[Instruction, ...]) -> Instruction:
    number = raw.integer("parameter_number")
    if not 0 <= number < len(arguments):
        raise raw.error(f"is called with {len(arguments)} arguments")
    argument = arguments[number]
    if argument.shape != logical_shape(raw.shape):
        raise raw.error(f"is called with an argument of shape {argument.shape}")
    return argument


def _convert(context: _Context) -> Instruction:
    raw = context.raw
    raw.opcode = _ALIASES.get(raw.opcode, raw.opcode)
    if raw.opcode in STATEFUL:
        raise UnsupportedError(
            f"{raw.opcode} of shape {raw.shape} {STATEFUL[raw.opcode]}{where(raw.metadata)}"
        )
    handler = _HANDLERS.get(raw.opcode)
    if handler is None and raw.opcode not in OPCODES:
        raise UnsupportedError(
            f"op {raw.opcode} of shape {raw.shape} is not supported{where(raw.metadata)}"
        )
    varies = any(a.varying for a in arrays(raw.shape))
    if varies and raw.opcode not in _HANDS_ON and _target(raw) != SLICE_TO_DYNAMIC:
        raise _unknown_size(raw)
    return _plain(context) if handler is None else handler(context)


def _plain(context: _Context) -> Instruction:
    raw = context.raw
    return Instruction(
        raw.name,
        raw.opcode,
        logical_shape(raw.shape),
        context.operands,
        attributes_of(raw, context.operand_shapes, context.resolve),
        raw.metadata,
    )


def _only(context: _Context) -> Instruction:
    if len(context.operands) != 1:
        raise context.raw.error(f"takes one operand, not {len(context.operands)}")
    return context.operands[0]


@_handles("copy")
def _copy(context: _Context) -> Instruction:
    return _only(context)


@_handles("call", "fusion")
def _call(context: _Context) -> Instruction:
    raw = context.raw
    keys = raw.called.get("to_apply", ())
    if len(keys) != 1:
        raise raw.error("calls no computation")
    result = context.inline(keys[0], context.operands)
    if result.shape != logical_shape(raw.shape):
        raise raw.error(f"its computation returns {result.shape}")
    return result


@_handles("after-all")
def _after_all(context: _Context) -> Instruction:
    return Instruction(context.raw.name, "tuple", TupleShape(), (), None, context.raw.metadata)


@_handles("add-dependency")
def _add_dependency(context: _Context) -> Instruction:
    if not context.operands:
        raise context.raw.error("takes a value and a token")
    return context.operands[0]


@_handles("get-tuple-element")
def _get_tuple_element(context: _Context) -> Instruction:
    operand, index = _only(context), context.raw.integer("index")
    if operand.opcode == "tuple" and 0 <= index < len(operand.operands):
        return operand.operands[index]
    return _plain(context)


@_handles("custom-call")
def _custom_call(context: _Context) -> Instruction:
    raw = context.raw
    if raw.flag("custom_call_has_side_effect"):
        target = raw.words.get("custom_call_target", "")
        raise UnsupportedError(
            f"custom-call '{target}' of shape {raw.shape} calls back into the host"
            f"{where(raw.metadata)}"
        )
    if _target(raw) != PAD_TO_STATIC:
        sized = isinstance(raw.shape, RawArray) and len(context.operands) == 1 + len(raw.shape.dims)
        if _target(raw) == SLICE_TO_DYNAMIC and not sized:
            raise raw.error("takes an array and an s32 scalar per dimension, its size")
        return _plain(context)
    static = padded(_only(context), raw.name)
    if static is None:
        raise _unknown_size(raw)
    if static.shape != logical_shape(raw.shape):
        raise raw.error(f"gives {static.shape}")
    return static


def _target(raw: RawInstruction) -> str:
    """What a custom-call calls, empty for other ops."""
    return raw.words.get("custom_call_target", "") if raw.opcode == "custom-call" else ""


def _unknown_size(raw: RawInstruction) -> UnsupportedError:
    return UnsupportedError(
        f"the size of {_target(raw) or raw.opcode} ({raw.shape}, at most) depends on the data in a "
        f"way that can't be compiled: pad it to a fixed size{where(raw.metadata)}"
    )


@_handles("set-dimension-size")
def _set_dimension_size(context: _Context) -> Instruction:
    raw = context.raw
    axis = raw.integer("dimensions")
    if len(context.operands) == 2 and isinstance(raw.shape, RawArray):
        value, size = context.operands
        full = isinstance(size.attrs, Constant) and size.attrs.value.ndim == 0
        if full and 0 <= axis < len(raw.shape.dims):
            assert isinstance(size.attrs, Constant)
            if int(size.attrs.value) == raw.shape.dims[axis]:
                return value
    raise _unknown_size(raw)


@_handles("topk")
def _top_k(context: _Context) -> Instruction:
    raw = context.raw
    if not raw.integer("largest", 1):
        raise UnsupportedError(
            f"topk of the smallest, shape {raw.shape}, is not supported{where(raw.metadata)}"
        )
    shape, attrs = logical_shape(raw.shape), CustomCall("TopK")
    return Instruction(raw.name, "custom-call", shape, context.operands, attrs, raw.metadata)


@_handles("bitcast")
def _bitcast(context: _Context) -> Instruction:
    operand = _only(context)
    source, target = context.operand_shapes[0], context.raw.shape
    if not isinstance(source, RawArray) or not isinstance(target, RawArray):
        return operand
    if _bytes(source) != _bytes(target):
        raise context.raw.error(f"reinterprets {source}, which has another size")
    value = _transposed(context, operand, source.physical_order)
    if source.dtype is not target.dtype:
        value = _retyped(context, value, target.dtype)
    order = target.physical_order
    value = _reshaped(context, value, tuple(target.dims[d] for d in order))
    inverse = tuple(order.index(d) for d in range(len(order)))
    value = _transposed(context, value, inverse)
    return _reshaped(context, value, target.dims)


def _bytes(shape: RawArray) -> tuple[int, ...]:
    return polynomial((*shape.dims, shape.dtype.bits))


def _reshaped(context: _Context, value: Instruction, dims: tuple[Dim, ...]) -> Instruction:
    """A reshape of `value`, none where the dimensions are equal, one where there would be two."""
    if value.opcode == "reshape" and value.name == context.raw.name:
        value = value.operands[0]
    if value.array.dims == dims:
        return value
    return context.emit("reshape", value.array.with_dims(dims), value)


def _transposed(context: _Context, value: Instruction, order: tuple[int, ...]) -> Instruction:
    """A transpose of `value`: a mere reshape where only dimensions of size 1 move."""
    dims = value.array.dims
    new = tuple(dims[d] for d in order)
    moved = [d for d in order if dims[d] != 1]
    if moved == sorted(moved):
        return _reshaped(context, value, new)
    if value.opcode == "transpose" and value.name == context.raw.name:
        inner = value.attr(Transpose).permutation
        return _transposed(context, value.operands[0], tuple(inner[d] for d in order))
    return context.emit("transpose", value.array.with_dims(new), value, Transpose(order))


def _retyped(context: _Context, value: Instruction, dtype: DType) -> Instruction:
    """The bytes of `value`, row-major, read as another type; dimensions are free to change."""
    shape = value.array
    old, new = shape.dtype.bits, dtype.bits
    if old == new:
        return context.emit("bitcast-convert", shape.with_dtype(dtype), value)
    if old > new:
        split = Shape(dtype, (*shape.dims, old // new))
        return context.emit("bitcast-convert", split, value)
    ratio = new // old
    try:
        flat = product(shape.dims)
        count = flat // ratio if isinstance(flat, BatchDim) or flat % ratio == 0 else None
    except (TypeError, ValueError):
        count = None
    if count is None:
        raise context.raw.error(f"can't reinterpret {shape} as {dtype} for every batch size")
    paired = _reshaped(context, value, (count, ratio))
    return context.emit("bitcast-convert", Shape(dtype, (count,)), paired)


def _check_layouts(raw: RawModule, entry: RawComputation) -> None:
    """Refuse inputs and outputs that callers could not pass as C-contiguous arrays."""
    by_key = {i.key: i for i in entry.instructions}
    root = by_key.get(entry.root)
    if root is None:
        raise InvalidModuleError(f"computation %{entry.name} has no root")
    inputs = [i.shape for i in entry.instructions if i.opcode == "parameter"]
    outputs = [root.shape]
    if raw.layouts is not None:
        inputs, outputs = list(raw.layouts[0]), [raw.layouts[1]]
    for what, shapes in (("input", inputs), ("output", outputs)):
        for array in (a for shape in shapes for a in arrays(shape)):
            if not array.is_row_major:
                raise UnsupportedError(
                    f"{what} of layout {array} is not row-major; lower it with default layouts"
                )
    for array in (a for shape in inputs for a in arrays(shape)):
        if array.varying:
            raise UnsupportedError(
                f"an input's size ({array}, at most) depends on the data: "
                "take the padded array and its size as two inputs"
            )


def _root_arrays(entry: RawComputation) -> list[RawArray]:
    return next(arrays(i.shape) for i in entry.instructions if i.key == entry.root)


def _flat_root(entry: Computation, raw: list[RawArray]) -> Computation:
    """The entry with a root that is an array, or a `tuple` of arrays.

    An array whose size depends on the data (`raw` tells) is followed by that size.
    """
    root = entry.root
    if not any(array.varying for array in raw):
        if isinstance(root.shape, Shape):
            return entry
        if root.opcode == "tuple" and all(isinstance(o.shape, Shape) for o in root.operands):
            return entry
    leaves = tuple(with_sizes(_leaves(root), raw))
    shape = TupleShape(tuple(leaf.shape for leaf in leaves))
    name = root.name if root.opcode == "tuple" else f"{root.name}.outputs"
    flat = Instruction(name, "tuple", shape, leaves, metadata=root.metadata)
    return unique_names(make_computation(entry.name, flat, entry.parameters))


def _leaves(value: Instruction) -> tuple[Instruction, ...]:
    if isinstance(value.shape, Shape):
        return (value,)
    if value.opcode == "tuple":
        return tuple(leaf for o in value.operands for leaf in _leaves(o))
    parts = (
        Instruction(
            f"{value.name}.{i}",
            "get-tuple-element",
            shape,
            (value,),
            GetTupleElement(i),
            value.metadata,
        )
        for i, shape in enumerate(value.shape)
    )
    return tuple(leaf for part in parts for leaf in _leaves(part))


def _is_symbolic(shape: AnyShape) -> bool:
    if isinstance(shape, Shape):
        return not shape.is_static
    return any(_is_symbolic(e) for e in shape)
