"""Verifier of modules: well-formed graphs, and shapes and types that follow the HLO specification.

Input: a module. Output: nothing, or InvalidModuleError naming op, shapes and layer. Symbolic
dimensions must satisfy every rule for all batch sizes B >= 1.
"""

from __future__ import annotations

from tfaot.errors import InvalidModuleError
from tfaot.ir.attributes import Parameter
from tfaot.ir.inference import infer_shape
from tfaot.ir.inference.registry import at_least
from tfaot.ir.module import Computation, Instruction, Module
from tfaot.ir.raw import where
from tfaot.ir.shapes import AnyShape, Shape


def verify(module: Module) -> None:
    """Check `module`; return normally if it is valid.

    Raises:
        InvalidModuleError: the first instruction found that breaks a rule, with its shapes and the
            TensorFlow op and layer that it came from.
    """
    symbolic = False
    for computation in module.computations():
        symbolic |= _verify_computation(computation)
    if symbolic and not module.batch:
        raise InvalidModuleError(f"module {module.name}: shapes depend on B but `batch` is False")


def _fail(computation: Computation, instruction: Instruction, message: str) -> InvalidModuleError:
    origin = where(instruction.metadata)
    return InvalidModuleError(f"%{instruction.name} in %{computation.name}: {message}{origin}")


def _verify_computation(computation: Computation) -> bool:
    """Check one computation; whether any shape in it depends on B."""
    seen: set[int] = set()
    names: set[str] = set()
    symbolic = False
    for instruction in computation.instructions:
        if instruction.name in names:
            raise _fail(computation, instruction, "the name is used twice")
        names.add(instruction.name)
        for operand in instruction.operands:
            if id(operand) not in seen:
                raise _fail(computation, instruction, f"operand %{operand.name} comes later")
        _verify_instruction(computation, instruction)
        symbolic |= _is_symbolic(instruction.shape)
        seen.add(id(instruction))
    if id(computation.root) not in seen:
        raise InvalidModuleError(f"%{computation.name}: the root is not in the computation")
    numbers = [p.attr(Parameter).number for p in computation.parameters]
    if numbers != list(range(len(numbers))):
        raise InvalidModuleError(f"%{computation.name}: parameters are numbered {numbers}")
    return symbolic


def _verify_instruction(computation: Computation, instruction: Instruction) -> None:
    shapes = tuple(o.shape for o in instruction.operands)
    try:
        inferred = infer_shape(instruction.opcode, shapes, instruction.attrs, instruction.shape)
    except InvalidModuleError as error:
        raise _fail(computation, instruction, str(error)) from None
    if inferred != instruction.shape:
        operands = ", ".join(map(str, shapes))
        message = f"{instruction.opcode}({operands}) gives {inferred}, not {instruction.shape}"
        raise _fail(computation, instruction, message)
    bad = _negative(instruction.shape)
    if bad is not None:
        message = f"{instruction.opcode} of shape {bad} has a negative size for some batch size"
        raise _fail(computation, instruction, message)


def _is_symbolic(shape: AnyShape) -> bool:
    if isinstance(shape, Shape):
        return not shape.is_static
    return any(_is_symbolic(e) for e in shape)


def _negative(shape: AnyShape) -> Shape | None:
    if isinstance(shape, Shape):
        return None if all(at_least(d, 0) for d in shape.dims) else shape
    return next((bad for bad in map(_negative, shape) if bad is not None), None)
