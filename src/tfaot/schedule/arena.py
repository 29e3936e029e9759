"""Arena: where each stored value lives, and how many bytes of workspace that takes.

Input: a schedule, and how many rows run at once. Output: an offset per stored value and per
kernel's scratch.

With a fixed number of rows per tile (or no batch at all) sizes are known: values whose lives don't
overlap share bytes, first fit by decreasing size. Where buffers grow with the batch size, offsets
are polynomials in it; values then share whole slots.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Shape
from tfaot.schedule.control import carried_elements
from tfaot.schedule.fusion import Kernel, Schedule, storage_of
from tfaot.schedule.padding import row_lengths
from tfaot.schedule.scratch import scratch_bytes
from tfaot.schedule.sizes import ALIGNMENT, NOTHING, Bytes, round_up


@dataclass(frozen=True)
class Buffer:
    """A stored value or a kernel's scratch.

    Attributes:
        owner: the id of the instruction, or of the kernel.
        size: its bytes.
        first: position of the kernel that writes it.
        last: position of the last kernel that reads it.
    """

    owner: int
    size: Bytes
    first: int
    last: int


@dataclass(frozen=True)
class Arena:
    """Offsets in bytes by instruction id (values) and kernel id (scratch), and the total size."""

    offsets: dict[int, Bytes]
    size: Bytes


@dataclass(frozen=True)
class ControlLayout:
    """The scratch of a `while` or `conditional`.

    Attributes:
        flag: offset of the loop condition's value.
        state: per changing element of the state, or result of the branches: the offset of its
            buffer where the kernel has no result for it, else None.
        other: per changing element, the offset of its second buffer, None where updated in place.
        called: the arenas of the called schedules, all at `base`.
        base: their offset.
        size: all of it.
    """

    flag: Bytes
    state: tuple[Bytes | None, ...]
    other: tuple[Bytes | None, ...]
    called: tuple[Arena, ...]
    base: Bytes
    size: Bytes


def byte_size(instruction: Instruction, row: int | None = None) -> Bytes:
    """Bytes of an array-valued instruction's value, with `row` elements from row to row."""
    shape = instruction.array
    dims = shape.dims if row is None else (*shape.dims[:-1], row)
    return Bytes.of(dims, shape.dtype.itemsize)


def stored_results(kernel: Kernel) -> list[Instruction]:
    """The results that a kernel writes."""
    return [r for r in kernel.results if r is not None]


def kernel_scratch(kernel: Kernel, rows: int | None) -> Bytes:
    """Bytes that a kernel needs for itself while it runs."""
    if kernel.called:
        return control_layout(kernel, rows).size
    return scratch_bytes(kernel)


def control_layout(kernel: Kernel, rows: int | None) -> ControlLayout:
    """Lay out the scratch of a kernel that runs other schedules."""
    total = Bytes.constant(ALIGNMENT)

    def take(shape: Shape) -> Bytes:
        nonlocal total
        offset = total
        size = Bytes.of(shape.dims, shape.dtype.itemsize)
        total = total + (size.aligned() if rows is None else _fixed(size, rows))
        return offset

    outputs = kernel.called[-1].outputs
    if kernel.root.opcode == "while":
        numbers = carried_elements(kernel.root)
    else:
        numbers = tuple(range(len(outputs)))
    state: list[Bytes | None] = []
    other: list[Bytes | None] = []
    in_place = {id(k.root) for k in kernel.called[-1].kernels if k.in_place}
    for number, output in zip(numbers, outputs, strict=True):
        state.append(take(output.array) if kernel.results[number] is None else None)
        twice = kernel.root.opcode == "while" and id(output) not in in_place
        other.append(take(output.array) if twice else None)
    arenas = tuple(plan_arena(s, rows) for s in kernel.called)
    base = total
    largest = NOTHING
    for arena in arenas:
        largest = largest.bound(arena.size.aligned())
    return ControlLayout(NOTHING, tuple(state), tuple(other), arenas, base, base + largest)


def _fixed(size: Bytes, rows: int) -> Bytes:
    return Bytes.trimmed([round_up(size.at(rows))])


def lifetimes(schedule: Schedule, rows: int | None) -> list[Buffer]:
    """What needs workspace: results of kernels that are no outputs, and scratch."""
    outputs = {id(o) for o in schedule.outputs}
    rows_apart = row_lengths(schedule)
    last: dict[int, int] = {}
    for position, kernel in enumerate(schedule.kernels):
        for leaf in kernel.leaves:
            last[id(storage_of(leaf))] = position
    found = []
    for position, kernel in enumerate(schedule.kernels):
        for result in stored_results(kernel):
            if id(result) not in outputs:
                end = last.get(id(result), position)
                size = byte_size(result, rows_apart.get(id(result)))
                found.append(Buffer(id(result), size, position, end))
        own = kernel_scratch(kernel, rows)
        if own != NOTHING:
            found.append(Buffer(id(kernel), own, position, position))
    return found


def plan_arena(schedule: Schedule, rows: int | None) -> Arena:
    """Place all values.

    Args:
        schedule: the kernels in order.
        rows: the largest B for which the kernels are called; None for any.
    """
    buffers = lifetimes(schedule, rows)
    if rows is None and not all(b.size.is_constant for b in buffers):
        return _slots(buffers)
    return _first_fit([(b, round_up(b.size.at(rows or 0))) for b in buffers])


def _first_fit(buffers: list[tuple[Buffer, int]]) -> Arena:
    placed: list[tuple[int, int, Buffer]] = []
    offsets: dict[int, Bytes] = {}
    total = 0
    order = sorted(range(len(buffers)), key=lambda n: (-buffers[n][1], buffers[n][0].first, n))
    for number in order:
        buffer, size = buffers[number]
        offset = 0
        for start, end, _ in sorted(
            (p for p in placed if _overlap(p[2], buffer)), key=lambda p: p[0]
        ):
            if start - offset >= size:
                break
            offset = max(offset, end)
        placed.append((offset, offset + size, buffer))
        offsets[buffer.owner] = Bytes.trimmed([offset])
        total = max(total, offset + size)
    return Arena(offsets, Bytes.trimmed([total]))


def _overlap(a: Buffer, b: Buffer) -> bool:
    return a.first <= b.last and b.first <= a.last


def _slots(buffers: list[Buffer]) -> Arena:
    """Reuse the free slot nearest in size, which grows where it is too small."""
    slots: list[tuple[Bytes, int]] = []
    chosen: list[tuple[Buffer, int]] = []
    for buffer in sorted(buffers, key=lambda b: b.first):
        free = [n for n, slot in enumerate(slots) if slot[1] < buffer.first]
        wanted = buffer.size.aligned()

        def growth(n: int, wanted: Bytes = wanted) -> tuple[int, int]:
            merged = slots[n][0].bound(wanted)
            return merged.at(100) - wanted.at(100), n

        best = min(free, key=growth, default=None)
        if best is None:
            best = len(slots)
            slots.append((wanted, buffer.last))
        else:
            slots[best] = (slots[best][0].bound(wanted), buffer.last)
        chosen.append((buffer, best))
    starts: list[Bytes] = []
    total = NOTHING
    for size, _ in slots:
        starts.append(total)
        total = total + size
    return Arena({b.owner: starts[n] for b, n in chosen}, total)


__all__ = [
    "ALIGNMENT",
    "Arena",
    "Buffer",
    "ControlLayout",
    "byte_size",
    "control_layout",
    "lifetimes",
    "plan_arena",
    "stored_results",
]
