"""What computations have to do: floating-point operations, and the bytes that kernels move.

Input: instructions or kernels of a schedule. Output: polynomials in the batch size B. Multiply-adds
count as two operations, other elementwise operations and functions as one per element; loops are
counted for one iteration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tfaot.ir.attributes import Convolution, Dot, ReduceWindow
from tfaot.ir.module import Computation, Instruction
from tfaot.ir.shapes import Dim, Shape
from tfaot.schedule.fusion import Kernel, storage_of
from tfaot.schedule.sizes import NOTHING, Bytes

_FREE = frozenset(
    """
    parameter constant tuple get-tuple-element broadcast reshape bitcast transpose slice pad iota
    concatenate reverse copy gather scatter dynamic-slice dynamic-update-slice convert
    bitcast-convert get-dimension-size optimization-barrier after-all while conditional
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Work:
    """What a kernel does in one call for B rows.

    Attributes:
        flops: floating-point (or integer) operations.
        read: bytes of the stored values that it reads, weights left out.
        written: bytes that it stores.
        weights: bytes of weights and other constants that it reads.
    """

    flops: Bytes
    read: Bytes
    written: Bytes
    weights: int


def kernel_work(kernel: Kernel) -> Work:
    """The work of a kernel that is no loop or conditional."""
    stored = [storage_of(leaf) for leaf in kernel.leaves]
    return Work(
        flops=total(flops(member) for member in _members(kernel)),
        read=total(_bytes(s) for s in stored if s.opcode != "constant"),
        written=total(_bytes(r) for r in kernel.results if r is not None),
        weights=sum(_bytes(s).at(0) for s in stored if s.opcode == "constant"),
    )


def _members(kernel: Kernel) -> list[Instruction]:
    stages = [member for stage in kernel.stages for member in stage.members]
    return list({id(m): m for m in (*kernel.members, *stages)}.values())


def computation_flops(computation: Computation) -> Bytes:
    """The operations of all instructions of a computation."""
    return total(flops(node) for node in computation.instructions)


def flops(node: Instruction) -> Bytes:
    """The operations of one instruction."""
    match node.attrs:
        case Dot():
            left = node.operands[0].array.dims
            depth = [left[i] for i in node.attrs.lhs_contracting]
            return _count((*node.array.dims, *depth), 2)
        case Convolution():
            kernel = list(node.operands[1].array.dims)
            del kernel[node.attrs.kernel_output_feature]
            return _count((*node.array.dims, *kernel), 2)
        case ReduceWindow():
            window = [d.size for d in node.attrs.window]
            return _count((*_dims(node), *window), 1)
    if node.opcode in _FREE:
        return NOTHING
    if node.opcode in ("reduce", "sort"):
        return _count(node.operands[0].array.dims, 1)
    return _count(_dims(node), 1)


def total(parts: Iterable[Bytes]) -> Bytes:
    """The sum of polynomials."""
    result = NOTHING
    for part in parts:
        result = result + part
    return result


def _dims(node: Instruction) -> tuple[Dim, ...]:
    if isinstance(node.shape, Shape):
        return node.shape.dims
    return node.operands[0].array.dims if node.operands else ()


def _count(dims: Sequence[Dim], each: int) -> Bytes:
    return Bytes.of(tuple(dims), each)


def _bytes(node: Instruction) -> Bytes:
    shape = node.shape
    if not isinstance(shape, Shape):
        return NOTHING
    return Bytes.of(shape.dims, shape.dtype.itemsize)
