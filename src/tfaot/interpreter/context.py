"""Evaluation context: registry of rules, types that hold values, running of computations.

Input: instructions and the values of their operands. Output: the value of each instruction.

A value is a NumPy array, or a tuple of values for a tuple-valued instruction. Rules never write
into an operand, so a result may be a view of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Union, cast

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import InputError, UnsupportedError
from tfaot.ir.attributes import Constant, GetTupleElement, Parameter
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction
from tfaot.ir.shapes import BatchDim, Dim, Shape, TupleShape

Array = NDArray[Any]
Value = Union[Array, tuple["Value", ...]]
Rule = Callable[[Instruction, Sequence[Any], "Context"], Any]

RULES: dict[str, Rule] = {}
"""The rule of each opcode: (instruction, operand values, context) -> value."""

SCALAR_MAPS: set[str] = set()
"""Opcodes whose rules work element by element and look at types, never at dimensions."""


def rule(*opcodes: str, scalar_map: bool = False) -> Callable[[Rule], Rule]:
    """Registers a function as the rule of `opcodes`."""

    def register(function: Rule) -> Rule:
        for opcode in opcodes:
            assert opcode not in RULES, opcode
            RULES[opcode] = function
            if scalar_map:
                SCALAR_MAPS.add(opcode)
        return function

    return register


_NARROW_FLOATS = {DType.F8E4M3FN, DType.F8E5M2, DType.F16, DType.BF16}
_LANE_IDENTITIES = {"broadcast", "reshape", "bitcast", "copy", "transpose"}


@dataclass(frozen=True)
class _Step:
    """An instruction with the ids of the values that nothing needs after it.

    `in_parts` tells of a large constant that only ops take which widen a part of it at a time.
    """

    instruction: Instruction
    dead: tuple[int, ...]
    in_parts: bool = False


LARGE_CONSTANT = 32 << 20
"""Bytes of a constant from which float64 values of all its elements are too many to have."""


def _is_large(node: Instruction) -> bool:
    if node.opcode != "constant" or not node.array.dtype.is_float:
        return False
    return node.attr(Constant).value.nbytes >= LARGE_CONSTANT


def _takes_parts(node: Instruction) -> bool:
    """Whether an op's rule takes operands in their own type where all others are float64."""
    return node.opcode in ("dot", "gather") and node.array.dtype.is_float


class Context:
    """How to evaluate: the batch size and whether real numbers are widened to float64.

    Args:
        batch: the size B of batch dimensions; None where no shape depends on it.
        float64: hold every float as float64 and every complex number as complex128.
    """

    def __init__(self, batch: int | None = None, float64: bool = False) -> None:
        self.batch = batch
        self.float64 = float64
        self._plans: dict[int, tuple[_Step, ...]] = {}
        self._mappable: dict[int, bool] = {}
        self._constants: dict[int, Array] = {}
        self._depth = 0

    def dim(self, dim: Dim) -> int:
        """The size of a dimension; InputError if it depends on an unknown batch size."""
        if not isinstance(dim, BatchDim):
            return dim
        if self.batch is None:
            raise InputError(f"the dimension {dim} depends on the batch size: pass batch=")
        return dim.at(self.batch)

    def dims(self, shape: Shape) -> tuple[int, ...]:
        """The sizes of all dimensions of `shape`."""
        return tuple(self.dim(d) for d in shape.dims)

    def storage(self, dtype: DType) -> np.dtype[Any]:
        """The NumPy type in which values of `dtype` are held."""
        if self.float64:
            if dtype.is_float:
                return np.dtype(np.float64)
            if dtype.is_complex:
                return np.dtype(np.complex128)
        return dtype.numpy

    def compute(self, dtype: DType) -> np.dtype[Any]:
        """The NumPy type in which one operation on `dtype` is carried out before it is rounded."""
        if self.float64 or dtype not in _NARROW_FLOATS:
            if dtype.bits == 4:
                return np.dtype(np.int8 if dtype.is_signed else np.uint8)
            return self.storage(dtype)
        return np.dtype(np.float32)

    def widest(self, dtype: DType) -> np.dtype[Any]:
        """float64 for a real float type, complex128 for a complex one, else as `compute`."""
        if dtype.is_float:
            return np.dtype(np.float64)
        return np.dtype(np.complex128) if dtype.is_complex else self.compute(dtype)

    def widen(self, value: Array, dtype: DType) -> Array:
        """A value of `dtype` in its computing type."""
        return value.astype(self.compute(dtype), copy=False)

    def widen_part(self, part: Array, dtype: np.dtype[Any]) -> Array:
        """A part of a large constant in its computing type."""
        return part.astype(dtype)

    def narrow(self, value: Array, dtype: DType) -> Array:
        """A computed value rounded (integers: wrapped) to the type that holds `dtype`."""
        value = np.asarray(value)
        if dtype is DType.S4:
            value = ((value & 15) ^ 8).astype(np.int8) - np.int8(8)
        elif dtype is DType.U4:
            value = value & 15
        return np.asarray(value).astype(self.storage(dtype), copy=False)

    def apply(self, instruction: Instruction, operands: Sequence[Value]) -> Value:
        """The value of one instruction; UnsupportedError where its opcode has no rule."""
        found = RULES.get(instruction.opcode)
        if found is None:
            raise unsupported(instruction, "has no evaluation rule")
        result = found(instruction, operands, self)
        return result if isinstance(result, tuple) else np.asarray(result)

    def run(self, computation: Computation, arguments: Sequence[Value]) -> Value:
        """The root's value of `computation` for `arguments`, values freed after their last use."""
        values: dict[int, Value] = {}
        self._depth += 1
        for step in self._plan(computation):
            node = step.instruction
            if node.opcode == "parameter":
                values[id(node)] = arguments[node.attr(Parameter).number]
            elif node.opcode == "constant":
                own = step.in_parts and self.float64
                values[id(node)] = node.attr(Constant).value if own else self._constant(node)
            else:
                values[id(node)] = self.apply(node, [values[id(o)] for o in node.operands])
            for dead in step.dead:
                del values[dead]
        self._depth -= 1
        return values[id(computation.root)]

    def lanes(self, computation: Computation, arguments: Sequence[Array]) -> tuple[Array, ...]:
        """A computation on scalars applied to arrays of broadcastable shapes, element by element.

        Returns:
            One array per element of the root tuple (or one), in the arguments' common shape.
        """
        shape = np.broadcast_shapes(*(a.shape for a in arguments))
        if self._is_mappable(computation):
            result = self._run_lanes(computation, arguments)
            parts = result if isinstance(result, tuple) else (result,)
            return tuple(np.broadcast_to(cast(Array, p), shape) for p in parts)
        flat = [np.broadcast_to(a, shape).reshape(-1) for a in arguments]
        rows = [
            self.run(computation, [np.asarray(a[i]) for a in flat]) for i in range(flat[0].size)
        ]
        types = (
            [cast(Shape, e).dtype for e in computation.root.shape]
            if isinstance(computation.root.shape, TupleShape)
            else [computation.root.array.dtype]
        )
        outputs = []
        for k, dtype in enumerate(types):
            column = [row[k] if isinstance(row, tuple) else row for row in rows]
            outputs.append(np.array(column, dtype=self.storage(dtype)).reshape(shape))
        return tuple(outputs)

    def _run_lanes(self, computation: Computation, arguments: Sequence[Any]) -> Any:
        values: dict[int, Any] = {}
        for node in computation.instructions:
            operands = [values[id(o)] for o in node.operands]
            match node.opcode:
                case "parameter":
                    value = arguments[node.attr(Parameter).number]
                case "constant":
                    value = self._constant(node)
                case "tuple":
                    value = tuple(operands)
                case "get-tuple-element":
                    value = operands[0][node.attr(GetTupleElement).index]
                case "call" | "map" | "fusion":
                    value = self._run_lanes(node.called[0], operands)
                case opcode if opcode in _LANE_IDENTITIES:
                    value = operands[0]
                case _:
                    value = self.apply(node, operands)
            values[id(node)] = value
        return values[id(computation.root)]

    def _is_mappable(self, computation: Computation) -> bool:
        known = self._mappable.get(id(computation))
        if known is None:
            known = all(self._maps(node) for node in computation.instructions)
            self._mappable[id(computation)] = known
        return known

    def _maps(self, node: Instruction) -> bool:
        if node.opcode in ("tuple", "get-tuple-element"):
            return True
        if not isinstance(node.shape, TupleShape) and node.shape.dims:
            return False
        if node.opcode in ("call", "map", "fusion"):
            return self._is_mappable(node.called[0])
        plain = {"parameter", "constant"} | _LANE_IDENTITIES | SCALAR_MAPS
        return node.opcode in plain and all(
            isinstance(o.shape, TupleShape) or not o.shape.dims for o in node.operands
        )

    def _constant(self, node: Instruction) -> Array:
        known = self._constants.get(id(node))
        if known is None:
            known = cast(Array, self.apply(node, ()))
            # Loop bodies run often: keep theirs. The entry's are freed after their last use.
            if self._depth > 1 or known.size <= 1:
                self._constants[id(node)] = known
        return known

    def _plan(self, computation: Computation) -> tuple[_Step, ...]:
        known = self._plans.get(id(computation))
        if known is not None:
            return known
        last: dict[int, int] = {}
        for position, node in enumerate(computation.instructions):
            last[id(node)] = position
            for operand in node.operands:
                last[id(operand)] = position
        last.pop(id(computation.root))
        whole = {id(o) for i in computation.instructions if not _takes_parts(i) for o in i.operands}
        whole.add(id(computation.root))
        dead: dict[int, list[int]] = {}
        for key, position in last.items():
            dead.setdefault(position, []).append(key)
        plan = tuple(
            _Step(node, tuple(dead.get(position, ())), _is_large(node) and id(node) not in whole)
            for position, node in enumerate(computation.instructions)
        )
        self._plans[id(computation)] = plan
        return plan


def unsupported(instruction: Instruction, why: str) -> UnsupportedError:
    """The error for an instruction that can't be evaluated: names op, shapes and layer."""
    operands = ", ".join(str(o.shape) for o in instruction.operands)
    layer = instruction.metadata.op_name or instruction.name
    return UnsupportedError(
        f"op '{instruction.opcode}' ({operands}) -> {instruction.shape} of layer '{layer}' {why}"
    )
