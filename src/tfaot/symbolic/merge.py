"""One module for every batch size, from modules lowered at two or three batch sizes.

Input: modules of one model at different batch sizes. Output: one module whose dimensions are
integers or `BatchDim`, or NotSymbolicError. Instructions are paired by walking the graphs from
their roots together, so order and names don't matter; operands of commutative ops may be swapped.
Every dimension that differs must be affine in the batch size; constants that differ become HLO that
computes them (`symbolic.constants`). The result is verified for all batch sizes >= 1, which also
refuses what only looks affine at the probes, such as B*B or min(B, 16).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, NoReturn

import numpy as np

from tfaot.errors import InvalidModuleError
from tfaot.ir.attributes import (
    Attributes,
    Broadcast,
    Constant,
    GetDimensionSize,
    GetTupleElement,
    ReduceWindow,
    WindowDimension,
)
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction, Module, make_computation, unique_names
from tfaot.ir.opcodes import OPCODES
from tfaot.ir.raw import where
from tfaot.ir.shapes import AnyShape, BatchDim, Dim, Shape, TupleShape, affine, dim_at
from tfaot.ir.verifier import verify
from tfaot.symbolic.constants import Emitter, emit_constant, same_bits
from tfaot.symbolic.dims import SIZE_FIELDS, is_symbolic
from tfaot.symbolic.errors import NotSymbolicError

_Group = tuple[Instruction, ...]


def merge(modules: Sequence[Module], batches: Sequence[int]) -> Module:
    """The module that equals `modules[i]` at batch size `batches[i]`.

    Args:
        modules: the model lowered at two or more batch sizes; the third and later ones check what
            the first two give.
        batches: the batch sizes: distinct, best primes of 31 or more that are no dimension of the
            model.

    Returns:
        The merged, verified module; `batch` is False if nothing depends on the batch size.

    Raises:
        NotSymbolicError: naming the first op that differs, with its layer.
    """
    if len(modules) < 2 or len(modules) != len(batches) or len(set(batches)) != len(batches):
        raise ValueError("merge takes two or more modules and as many distinct batch sizes")
    merger = _Merger(tuple(batches))
    try:
        entry = merger.computation(tuple(m.entry for m in modules))
        merged = Module(modules[0].name, entry, False, dict(modules[0].metadata))
        symbolic = any(is_symbolic(i.shape) for c in merged.computations() for i in c.instructions)
        merged = replace(merged, batch=symbolic)
        verify(merged)
    except InvalidModuleError as error:
        raise NotSymbolicError(f"no form for every batch size: {error}") from None
    except NotSymbolicError as error:
        clash = _coincidence(modules[0], batches)
        if clash is None:
            raise
        raise NotSymbolicError(
            f"{error}; the model has a dimension of {clash}, which was probed as batch size"
        ) from None
    return merged


def _coincidence(module: Module, batches: Sequence[int]) -> int | None:
    """A probed batch size, other than the module's own, among its dimensions."""
    for computation in module.computations():
        for instruction in computation.instructions:
            if isinstance(instruction.shape, Shape):
                for batch in batches[1:]:
                    if batch in instruction.shape.dims:
                        return batch
    return None


def _fail(group: _Group, reason: str) -> NoReturn:
    first = group[0]
    raise NotSymbolicError(f"{first.opcode} {first.shape} {reason}{where(first.metadata)}")


class _Merger:
    """Merges computations, each tuple of them once."""

    def __init__(self, batches: tuple[int, ...]) -> None:
        self._batches = batches
        self._done: dict[tuple[int, ...], Computation] = {}
        self._hashes: dict[int, dict[int, int]] = {}

    def computation(self, group: tuple[Computation, ...]) -> Computation:
        """The merged computation."""
        key = tuple(map(id, group))
        if key not in self._done:
            self._done[key] = self._merge(group)
        return self._done[key]

    def _merge(self, group: tuple[Computation, ...]) -> Computation:
        hashes = [self._hashed(c) for c in group]
        columns = [c.parameters for c in group]
        roots = tuple(c.root for c in group)
        if len({len(c) for c in columns}) != 1:
            _fail(roots, "belongs to computations of different numbers of parameters")
        done: dict[tuple[int, ...], Instruction] = {}
        parameters: list[Instruction] = []
        for nodes in zip(*columns, strict=True):
            shape = self._shape(nodes, tuple(n.shape for n in nodes))
            merged = replace(nodes[0], shape=shape)
            done[tuple(map(id, nodes))] = merged
            parameters.append(merged)
        scope = _Scope(tuple(parameters))
        stack: list[_Group] = [roots]
        while stack:
            nodes = stack[-1]
            key = tuple(map(id, nodes))
            if key in done:
                stack.pop()
                continue
            operands = self._pair(nodes, hashes)
            missing = [o for o in operands if tuple(map(id, o)) not in done]
            if missing:
                stack.extend(reversed(missing))
                continue
            stack.pop()
            done[key] = self._instruction(
                nodes, tuple(done[tuple(map(id, o))] for o in operands), scope
            )
        root = done[tuple(map(id, roots))]
        return unique_names(make_computation(group[0].name, root, tuple(parameters)))

    def _pair(self, nodes: _Group, hashes: list[dict[int, int]]) -> list[_Group]:
        """The operands of `nodes`, position by position, commutative ones in matching order."""
        first = nodes[0]
        for node in nodes[1:]:
            if node.opcode != first.opcode:
                _fail(nodes, f"is a {node.opcode} at another batch size")
            if len(node.operands) != len(first.operands):
                _fail(nodes, "has another number of operands at another batch size")
        rows = [node.operands for node in nodes]
        info = OPCODES.get(first.opcode)
        if info is not None and info.commutative:
            wanted = [hashes[0][id(o)] for o in rows[0]]
            for position in range(1, len(rows)):
                have = [hashes[position][id(o)] for o in rows[position]]
                if have != wanted and have[::-1] == wanted:
                    rows[position] = rows[position][::-1]
        return list(zip(*rows, strict=True))

    def _instruction(
        self, nodes: _Group, operands: tuple[Instruction, ...], scope: _Scope
    ) -> Instruction:
        first = nodes[0]
        shape = self._shape(nodes, tuple(n.shape for n in nodes))
        if isinstance(first.attrs, Constant):
            return self._constant(nodes, shape, scope)
        attrs = self._attributes(nodes)
        return replace(first, shape=shape, operands=operands, attrs=attrs)

    def _shape(self, nodes: _Group, shapes: tuple[AnyShape, ...]) -> AnyShape:
        first = shapes[0]
        if isinstance(first, Shape):
            arrays = [s for s in shapes if isinstance(s, Shape)]
            alike = len(arrays) == len(shapes) and all(
                a.dtype is first.dtype and a.rank == first.rank for a in arrays
            )
            if not alike:
                _fail(nodes, "has another type or rank at another batch size")
            columns = zip(*(a.dims for a in arrays), strict=True)
            return first.with_dims(tuple(self._dim(nodes, c) for c in columns))
        tuples = [s.elements for s in shapes if isinstance(s, TupleShape)]
        if len(tuples) != len(shapes) or len({len(t) for t in tuples}) != 1:
            _fail(nodes, "is a tuple of another size at another batch size")
        return TupleShape(tuple(self._shape(nodes, c) for c in zip(*tuples, strict=True)))

    def _dim(self, nodes: _Group, sizes: tuple[Dim, ...]) -> Dim:
        values = [s for s in sizes if isinstance(s, int)]
        if len(values) != len(sizes):
            _fail(nodes, "is symbolic already")
        if len(set(values)) == 1:
            return values[0]
        first, second = self._batches[:2]
        scale, rest = divmod(values[1] - values[0], second - first)
        offset = values[0] - scale * first
        at_probes = [scale * b + offset for b in self._batches]
        if rest or at_probes != values:
            sizes_text = ", ".join(map(str, values))
            probes_text = ", ".join(map(str, self._batches))
            _fail(nodes, f"has sizes {sizes_text} at batch sizes {probes_text}, not affine")
        return affine(scale, offset)

    def _attributes(self, nodes: _Group) -> Attributes:
        first = nodes[0].attrs
        if first is None:
            return None
        symbolic = SIZE_FIELDS.get(type(first), ())
        changed: dict[str, Any] = {}
        for field in fields(first):
            values: tuple[Any, ...] = tuple(getattr(n.attrs, field.name) for n in nodes)
            value = values[0]
            if field.name in symbolic:
                if len({len(v) for v in values}) != 1:
                    _fail(nodes, f"differs in {field.name} at another batch size")
                changed[field.name] = tuple(
                    self._dim(nodes, column) for column in zip(*values, strict=True)
                )
            elif isinstance(first, ReduceWindow) and field.name == "window":
                changed[field.name] = self._window(nodes)
            elif isinstance(value, Computation):
                changed[field.name] = self.computation(values)
            elif isinstance(value, tuple) and value and isinstance(value[0], Computation):
                if len({len(v) for v in values}) != 1:
                    _fail(nodes, f"differs in {field.name} at another batch size")
                changed[field.name] = tuple(
                    self.computation(column) for column in zip(*values, strict=True)
                )
            elif any(v != value for v in values[1:]):
                _fail(nodes, f"differs in {field.name} at another batch size")
        merged: Attributes = replace(first, **changed)
        return merged

    def _window(self, nodes: _Group) -> tuple[WindowDimension, ...]:
        """The window of a `reduce-window`, whose sizes and paddings may depend on the batch."""
        windows = [n.attr(ReduceWindow).window for n in nodes]
        merged = []
        for column in zip(*windows, strict=True):
            window = replace(
                column[0],
                size=self._dim(nodes, tuple(w.size for w in column)),
                padding_low=self._dim(nodes, tuple(w.padding_low for w in column)),
                padding_high=self._dim(nodes, tuple(w.padding_high for w in column)),
            )
            for batch, other in zip(self._batches, column, strict=True):
                if window.map_sizes(lambda d, batch=batch: dim_at(d, batch)) != other:
                    _fail(nodes, "differs in window at another batch size")
            merged.append(window)
        return tuple(merged)

    def _constant(self, nodes: _Group, shape: AnyShape, scope: _Scope) -> Instruction:
        assert isinstance(shape, Shape)
        values = [n.attr(Constant).value for n in nodes]
        first = values[0]
        if shape.is_static and all(same_bits(v, first) for v in values[1:]):
            return nodes[0]
        emitter = Emitter(nodes[0].name, nodes[0].metadata, scope.batch_size)
        found = emit_constant(values, shape, self._batches, emitter)
        if found is None:
            _fail(nodes, "depends on the batch size in no recognised way")
        return found

    def _hashed(self, computation: Computation) -> dict[int, int]:
        """For each instruction (by id), a hash of its structure, the same at all batch sizes."""
        found = self._hashes.get(id(computation))
        if found is not None:
            return found
        found = {}
        for node in computation.instructions:
            parts = [found[id(o)] for o in node.operands]
            info = OPCODES.get(node.opcode)
            if info is not None and info.commutative:
                parts.sort()
            called = tuple(self._hashed(c)[id(c.root)] for c in node.called)
            key = (node.opcode, _kind(node.shape), _structure(node), called, tuple(parts))
            found[id(node)] = hash(key)
        self._hashes[id(computation)] = found
        return found


def _kind(shape: AnyShape) -> tuple[object, ...]:
    if isinstance(shape, Shape):
        return (shape.dtype.value, shape.rank)
    return tuple(map(_kind, shape))


def _structure(node: Instruction) -> tuple[str, ...]:
    """The attributes that can't depend on the batch size, as text."""
    attrs = node.attrs
    if attrs is None or isinstance(attrs, Constant):
        return ()
    skipped = ("window",) if isinstance(attrs, ReduceWindow) else SIZE_FIELDS.get(type(attrs), ())
    values = [getattr(attrs, f.name) for f in fields(attrs) if f.name not in skipped]
    return tuple(
        repr(v)
        for v in values
        if not isinstance(v, Computation)
        and not (isinstance(v, tuple) and any(isinstance(e, Computation) for e in v))
    )


class _Scope:
    """Gives the batch size inside one computation, as an s32 scalar made once."""

    def __init__(self, parameters: tuple[Instruction, ...]) -> None:
        self._parameters = parameters
        self._size: Instruction | None = None

    def batch_size(self) -> Instruction:
        """The batch size."""
        if self._size is None:
            source = self._source()
            self._size = _size_of(*source)
        return self._size

    def _source(self) -> tuple[Instruction, int]:
        """An array and its batch axis: a parameter's if one has it, else one made for its shape."""
        for wanted in (lambda d: d == BatchDim(1), lambda d: isinstance(d, BatchDim)):
            for parameter in self._parameters:
                found = _find_axis(parameter, wanted)
                if found is not None:
                    return found
        false = Instruction("batch", "constant", Shape(DType.PRED), (), Constant(np.array(False)))
        rows = Shape(DType.PRED, (BatchDim(1),))
        return Instruction("batch", "broadcast", rows, (false,), Broadcast(())), 0


def _find_axis(value: Instruction, wanted: Callable[[Dim], bool]) -> tuple[Instruction, int] | None:
    if isinstance(value.shape, Shape):
        axes = [axis for axis, dim in enumerate(value.shape.dims) if wanted(dim)]
        return (value, axes[0]) if axes else None
    for index, shape in enumerate(value.shape):
        element = Instruction(
            f"{value.name}.{index}", "get-tuple-element", shape, (value,), GetTupleElement(index)
        )
        found = _find_axis(element, wanted)
        if found is not None:
            return found
    return None


def _size_of(source: Instruction, axis: int) -> Instruction:
    dim = source.array.dims[axis]
    assert isinstance(dim, BatchDim)
    scalar = Shape(DType.S32)

    def constant(number: int) -> Instruction:
        value = Constant(np.array(number, np.int32))
        return Instruction("batch", "constant", scalar, (), value)

    size = Instruction("batch", "get-dimension-size", scalar, (source,), GetDimensionSize(axis))
    if dim.offset:
        size = Instruction("batch", "subtract", scalar, (size, constant(dim.offset)))
    if dim.scale != 1:
        size = Instruction("batch", "divide", scalar, (size, constant(dim.scale)))
    return size
