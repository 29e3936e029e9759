"""Arena: where each stored value lives, and how many bytes of workspace that takes.

Input: a schedule, and how many rows run at once. Output: a `Placement` per stored value.

With a fixed number of rows per tile (or no batch at all) sizes are known: values whose lives don't
overlap share bytes, first fit by decreasing size. Where buffers grow with the batch size, offsets
are affine in it; values then share whole slots.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfaot.ir.module import Instruction
from tfaot.ir.shapes import BatchDim, Dim, affine, dim_at
from tfaot.schedule.fusion import Kernel, Schedule, storage_of

ALIGNMENT = 64


@dataclass(frozen=True)
class Buffer:
    """A stored value: its size in bytes and the kernels (by position) between which it lives."""

    instruction: Instruction
    size: Dim
    first: int
    last: int


@dataclass(frozen=True)
class Arena:
    """Offsets in bytes of the values (by instruction id), and the total size, all affine in B."""

    offsets: dict[int, Dim]
    size: Dim


def byte_size(instruction: Instruction) -> Dim:
    """Bytes of an array-valued instruction's value."""
    shape = instruction.array
    return shape.size * shape.dtype.itemsize


def lifetimes(schedule: Schedule) -> list[Buffer]:
    """The values that need workspace: results of kernels that are no outputs."""
    outputs = {id(o) for o in schedule.outputs}
    last: dict[int, int] = {}
    for position, kernel in enumerate(schedule.kernels):
        for leaf in kernel.leaves:
            last[id(storage_of(leaf))] = position
    found = []
    for position, kernel in enumerate(schedule.kernels):
        for result in stored_results(kernel):
            if id(result) not in outputs:
                end = last.get(id(result), position)
                found.append(Buffer(result, byte_size(result), position, end))
    return found


def stored_results(kernel: Kernel) -> list[Instruction]:
    """The results that a kernel writes."""
    return [r for r in kernel.results if r is not None]


def plan_arena(schedule: Schedule, rows: int | None) -> Arena:
    """Place all values.

    Args:
        schedule: the kernels in order.
        rows: the largest B for which the kernels are called; None for any.
    """
    buffers = lifetimes(schedule)
    if rows is None and any(isinstance(b.size, BatchDim) for b in buffers):
        return _slots(buffers)
    return _first_fit([(b, _round_up(dim_at(b.size, rows or 0))) for b in buffers])


def _round_up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _first_fit(buffers: list[tuple[Buffer, int]]) -> Arena:
    placed: list[tuple[int, int, Buffer]] = []
    offsets: dict[int, Dim] = {}
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
        offsets[id(buffer.instruction)] = offset
        total = max(total, offset + size)
    return Arena(offsets, total)


def _overlap(a: Buffer, b: Buffer) -> bool:
    return a.first <= b.last and b.first <= a.last


def _slots(buffers: list[Buffer]) -> Arena:
    """Reuse slots whose scale and offset both suffice; grow one otherwise."""
    slots: list[tuple[int, int, int]] = []
    chosen: list[tuple[Buffer, int]] = []
    for buffer in sorted(buffers, key=lambda b: b.first):
        size = buffer.size if isinstance(buffer.size, BatchDim) else BatchDim(0, buffer.size)
        scale, offset = _round_up(size.scale), _round_up(size.offset)
        free = [n for n, slot in enumerate(slots) if slot[2] < buffer.first]
        best = min(free, key=lambda n: abs(slots[n][0] - scale), default=None)
        if best is None:
            best = len(slots)
            slots.append((scale, offset, buffer.last))
        else:
            old = slots[best]
            slots[best] = (max(old[0], scale), max(old[1], offset), buffer.last)
        chosen.append((buffer, best))
    starts: list[Dim] = []
    total: Dim = 0
    for scale, offset, _ in slots:
        starts.append(total)
        total = total + affine(scale, offset)
    return Arena({id(b.instruction): starts[n] for b, n in chosen}, total)
