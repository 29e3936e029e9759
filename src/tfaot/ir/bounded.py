"""Sizes that depend on the data, as far as XLA bounds them.

XLA's graph passes compute on arrays of the bound's size, whose elements beyond the true size don't
matter, and convert at a model's boundary alone: `SliceToDynamic(array, sizes)` makes an array of a
data-dependent size, `PadToStatic` takes one apart again. In the IR such an array has the bound as
its shape and zeros beyond its true size, in every dimension; an output of this kind is followed by
one more, its true size.

Source: openxla.org/xla/operation_semantics ("SetDimensionSize"), XLA's dynamic padder.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfaot.errors import UnsupportedError
from tfaot.ir.attributes import Concatenate, CustomCall
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.raw import RawArray, where
from tfaot.ir.shapes import Shape, TupleShape

SLICE_TO_DYNAMIC = "SliceToDynamic"
PAD_TO_STATIC = "PadToStatic"


def is_bounded(value: Instruction) -> bool:
    """Whether this is an array whose true size is known at run time."""
    return isinstance(value.attrs, CustomCall) and value.attrs.target == SLICE_TO_DYNAMIC


def padded(value: Instruction, name: str) -> Instruction | None:
    """`PadToStatic` of `value`: the array and its sizes, None where these aren't known."""
    if not is_bounded(value):
        return None
    elements = (value, *value.operands[1:])
    shape = TupleShape(tuple(e.shape for e in elements))
    return Instruction(name, "tuple", shape, elements, metadata=value.metadata)


def with_sizes(outputs: Sequence[Instruction], raw: Sequence[RawArray]) -> list[Instruction]:
    """The outputs of a module, each of a data-dependent size followed by that size.

    The size is an s32 scalar where one dimension varies, else an array of one per such dimension.

    Args:
        outputs: the outputs.
        raw: their shapes as read.

    Raises:
        UnsupportedError: where nothing tells an output's size.
    """
    result: list[Instruction] = []
    for output, array in zip(outputs, raw, strict=True):
        result.append(output)
        if not array.varying:
            continue
        if not is_bounded(output):
            raise UnsupportedError(
                f"a result's size ({array}, at most) depends on the data, and {output.opcode} "
                f"doesn't tell it{where(output.metadata)}"
            )
        sizes = [output.operands[1 + axis] for axis in array.varying]
        result.append(sizes[0] if len(sizes) == 1 else _joined(sizes, output))
    return result


def _joined(sizes: Sequence[Instruction], output: Instruction) -> Instruction:
    """Scalars as one array."""
    one = Shape(DType.S32, (1,))
    name, origin = f"{output.name}.size", output.metadata
    parts = tuple(Instruction(name, "reshape", one, (s,), metadata=origin) for s in sizes)
    shape = Shape(DType.S32, (len(parts),))
    return Instruction(name, "concatenate", shape, parts, Concatenate(0), origin)
