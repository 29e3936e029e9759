"""Row kernels: reductions over short rows and what leads up to and follows them, as one kernel.

Softmax, layer normalisation and the like are chains of reductions over the last dimension and of
elementwise ops on the same rows. Where a row fits a few vectors, the whole chain runs in registers:
input: kernels in order; output: the same, with runs of such kernels joined into one whose stages
they are. Only what is read elsewhere is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tfaot.ir.attributes import Broadcast, Reduce
from tfaot.ir.module import Computation, Instruction
from tfaot.ir.shapes import Dim, Shape
from tfaot.schedule.fusion import SEGMENTED, Kernel, Schedule, is_elementwise, storage_of

LONGEST_ROW = 64
"""Elements of a row that is kept in registers: four vectors."""

MONOIDS = frozenset({"add", "multiply", "maximum", "minimum", "and", "or", "xor"})
"""Opcodes that, as a reducer, may be applied to lanes in any fixed order."""


def monoid_of(computation: Computation) -> str | None:
    """The opcode of a reducer that is one associative op on its two parameters."""
    root = computation.root
    if root.opcode not in MONOIDS or len(computation.parameters) != 2:
        return None
    if {id(o) for o in root.operands} != {id(p) for p in computation.parameters}:
        return None
    return root.opcode


def join_rows(schedule: Schedule) -> Schedule:
    """Join runs of kernels that work on the same short rows."""
    outputs = {id(o) for o in schedule.outputs}
    kernels: list[Kernel] = []
    run: list[Kernel] = []
    rows: tuple[Dim, ...] | None = None
    for position, kernel in enumerate(schedule.kernels):
        shape = _row_shape(kernel) if rows is None else rows
        if rows is not None and not _joins(run, kernel, rows):
            kernels.extend(_close(run, schedule.kernels[position:], outputs))
            run, rows = [], None
            shape = _row_shape(kernel)
        if rows is None:
            if shape is None:
                kernels.append(kernel)
                continue
            rows = shape
            # What was just computed for the same rows may belong to the run as well.
            while kernels and _feeds(kernels[-1], [*run, kernel]):
                longer = [kernels[-1], *run, kernel]
                if not all(_joins(longer[:n], k, rows) for n, k in enumerate(longer)):
                    break
                run.insert(0, kernels.pop())
        run.append(kernel)
    kernels.extend(_close(run, (), outputs))
    return replace(schedule, kernels=tuple(kernels))


def _row_shape(kernel: Kernel) -> tuple[Dim, ...] | None:
    """The dimensions of the rows that a reduction over short rows reads."""
    anchor = kernel.anchor
    if anchor is None or anchor.opcode != "reduce" or len(anchor.operands) != 2:
        return None
    if anchor.array.dtype.is_complex:
        return None
    attrs = anchor.attr(Reduce)
    dims = anchor.operands[0].array.dims
    length = dims[-1]
    if attrs.dimensions != (len(dims) - 1,) or not isinstance(length, int):
        return None
    if not 1 < length <= LONGEST_ROW or monoid_of(attrs.to_apply) is None:
        return None
    return dims


def _joins(run: Sequence[Kernel], kernel: Kernel, rows: tuple[Dim, ...]) -> bool:
    """Whether a kernel can be a stage of a run: the same rows, reading the run's results in row."""
    root = kernel.root
    if kernel.called or kernel.stages or kernel.in_place or not isinstance(root.shape, Shape):
        return False
    own = {id(s.root) for s in run}
    if kernel.anchor is None:
        if root.opcode in SEGMENTED or root.array.dims not in (rows, rows[:-1]):
            return False
        reads = [(root, root.array.dims == rows)]
    else:
        if _row_shape(kernel) != rows or root.array.dims != rows[:-1]:
            return False
        reads = [(kernel.anchor.operands[0], True), (root, False)]
    inside = {id(m) for m in kernel.members}
    if kernel.anchor is not None:
        inside.discard(id(kernel.anchor))
    return all(_in_row(node, full, rows, own, inside) for node, full in reads)


def _in_row(
    node: Instruction, full: bool, rows: tuple[Dim, ...], own: set[int], inside: set[int]
) -> bool:
    """Whether `node`, at an element of a row (or at a row), reads the run's results there only."""
    dims = rows if full else rows[:-1]
    if id(storage_of(node)) in own:
        return storage_of(node) is node and node.array.dims == dims
    if id(node) not in inside:
        return True
    if node.array.dims != dims:
        return not _reaches(node, own, inside)
    if node.opcode == "broadcast":
        operand = node.operands[0]
        if full and node.attr(Broadcast).dimensions == tuple(range(len(rows) - 1)):
            return _in_row(operand, False, rows, own, inside)
        return not _reaches(operand, own, inside)
    if is_elementwise(node):
        return all(
            _in_row(o, full, rows, own, inside)
            if o.array.dims == dims
            else not _reaches(o, own, inside)
            for o in node.operands
        )
    return not any(_reaches(o, own, inside) for o in node.operands)


def _reaches(node: Instruction, own: set[int], inside: set[int]) -> bool:
    if id(storage_of(node)) in own:
        return True
    if id(node) not in inside and node.opcode != "reshape":
        return False
    return any(_reaches(o, own, inside) for o in node.operands)


def _feeds(kernel: Kernel, readers: Sequence[Kernel]) -> bool:
    stored = {id(r) for r in kernel.results if r is not None}
    return any(id(storage_of(leaf)) in stored for r in readers for leaf in r.leaves)


def _close(run: list[Kernel], later: Sequence[Kernel], outputs: set[int]) -> list[Kernel]:
    """The run as one kernel, or as it was where there is nothing to join."""
    if len(run) < 2:
        return run
    made = {id(k.root) for k in run}
    wanted = outputs | {id(storage_of(leaf)) for k in later for leaf in k.leaves}
    leaves = {id(leaf): leaf for k in run for leaf in k.leaves if id(storage_of(leaf)) not in made}
    members = {id(m): m for k in run for m in k.members}
    return [
        Kernel(
            root=run[-1].root,
            results=tuple(k.root if id(k.root) in wanted else None for k in run),
            anchor=None,
            members=tuple(members.values()),
            leaves=tuple(leaves.values()),
            stages=tuple(run),
        )
    ]
