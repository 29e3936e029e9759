"""Schedules of computations with loops and conditionals.

Input: a computation after the passes. Output: its `Schedule`, with those of the computations that
its `while` and `conditional` instructions call inside.

A loop's state is a tuple. Elements that the body hands on unchanged are no state: after the loop
they are what they were before it, and constants among them are written into the loop, where dots
can have them packed. An element that the body only updates in part (`dynamic-update-slice` of the
element itself, read by nothing afterwards) is updated in place. All others have two buffers each,
old and new, which change roles after every step: nothing is copied.
"""

from __future__ import annotations

from dataclasses import replace

from tfaot.ir.attributes import Conditional, GetTupleElement, While
from tfaot.ir.module import (
    Computation,
    Instruction,
    Rewriter,
    make_computation,
    unique_names,
)
from tfaot.ir.shapes import Shape, TupleShape
from tfaot.schedule.fusion import (
    CONTROL,
    Kernel,
    Schedule,
    group,
    storage_of,
    tuple_elements,
)
from tfaot.schedule.rows import join_rows


def schedule(computation: Computation) -> Schedule:
    """Group the instructions of `computation`, and of what it calls, into kernels."""
    plan = join_rows(group(_lift_invariants(_explicit_root(computation))))
    return replace(plan, kernels=tuple(_with_called(k) for k in plan.kernels))


def _explicit_root(computation: Computation) -> Computation:
    """The computation with its root a `tuple` of elements, where it hands on a whole tuple."""
    listed = _explicit_tuple(computation.root)
    if listed is computation.root:
        return computation
    return unique_names(make_computation(computation.name, listed, computation.parameters))


def _explicit_tuple(value: Instruction) -> Instruction:
    """A tuple as a `tuple` of its elements; anything else itself."""
    if isinstance(value.shape, Shape) or value.opcode == "tuple":
        return value
    elements = tuple(
        Instruction(
            f"{value.name}.element.{n}", "get-tuple-element", shape, (value,), GetTupleElement(n)
        )
        for n, shape in enumerate(value.shape.elements)
    )
    name = f"{value.name}.elements"
    return Instruction(name, "tuple", value.shape, elements, None, value.metadata)


def carried_elements(loop: Instruction) -> tuple[int, ...]:
    """The positions in a `while`'s state of the elements that its body changes."""
    body = loop.attr(While).body
    if isinstance(loop.shape, Shape):
        return (0,)
    results = tuple_elements(body.root)
    return tuple(n for n, r in enumerate(results) if not _is_element(r, body, n))


def state_reads(computation: Computation) -> dict[int, list[Instruction]]:
    """The instructions that stand for the elements of a computation's one parameter."""
    (parameter,) = computation.parameters
    if isinstance(parameter.shape, Shape):
        return {0: [parameter]}
    reads: dict[int, list[Instruction]] = {}
    for instruction in computation.instructions:
        if instruction.opcode == "get-tuple-element" and instruction.operands[0] is parameter:
            reads.setdefault(instruction.attr(GetTupleElement).index, []).append(instruction)
    return reads


def _is_element(value: Instruction, computation: Computation, number: int) -> bool:
    return (
        value.opcode == "get-tuple-element"
        and value.operands[0] is computation.parameters[0]
        and value.attr(GetTupleElement).index == number
    )


def _lift_invariants(computation: Computation) -> Computation:
    """Take unchanging elements out of loops, and give changing ones a first value to copy.

    Each element of a tuple is one instruction afterwards: it has one place in memory.
    """
    known: dict[tuple[int, int], Instruction] = {}

    def element(made: Instruction) -> Instruction:
        (whole,), number = made.operands, made.attr(GetTupleElement).index
        if whole.opcode == "while" and number not in carried_elements(whole):
            return tuple_elements(whole.operands[0])[number]
        if whole.opcode not in CONTROL:
            return made
        return known.setdefault((id(whole), number), made)

    def change(old: Instruction, operands: tuple[Instruction, ...]) -> Instruction | None:
        if old.opcode in CONTROL:
            given = replace(old, operands=tuple(explicit(o) for o in operands))
            return _simplified_loop(given) if old.opcode == "while" else given
        if old.opcode == "get-tuple-element":
            return element(replace(old, operands=operands))
        return None

    def explicit(value: Instruction) -> Instruction:
        listed = _explicit_tuple(value)
        if listed is value:
            return value
        return replace(listed, operands=tuple(element(e) for e in listed.operands))

    if not any(i.opcode in CONTROL for i in computation.instructions):
        return computation
    return Rewriter(change).run(computation)


def _simplified_loop(loop: Instruction) -> Instruction:
    attrs = loop.attr(While)
    attrs = While(attrs.condition, _explicit_root(attrs.body))
    loop = replace(loop, attrs=attrs)
    initial = list(tuple_elements(loop.operands[0]))
    carried = carried_elements(loop)
    constants = {n: e for n, e in enumerate(initial) if n not in carried and e.opcode == "constant"}
    if constants:
        attrs = While(_sink(attrs.condition, constants), _sink(attrs.body, constants))
    for n in carried:
        if storage_of(initial[n]).opcode == "parameter":
            name = f"{loop.name}.first.{n}"
            initial[n] = Instruction(name, "copy", initial[n].shape, (initial[n],))
    operand = loop.operands[0]
    if isinstance(operand.shape, TupleShape):
        operand = replace(operand, operands=tuple(initial))
    else:
        operand = initial[0]
    return replace(loop, operands=(operand,), attrs=attrs)


def _sink(computation: Computation, constants: dict[int, Instruction]) -> Computation:
    """Replace elements of the parameter by constants."""
    fresh: dict[int, Instruction] = {}

    def change(old: Instruction, operands: tuple[Instruction, ...]) -> Instruction | None:
        if old.opcode != "get-tuple-element" or operands[0].opcode != "parameter":
            return None
        number = old.attr(GetTupleElement).index
        if number not in constants:
            return None
        if number not in fresh:
            value = constants[number]
            fresh[number] = Instruction(
                f"sunk.{number}",
                "constant",
                value.shape,
                (),
                value.attrs,
                value.metadata,
            )
        return fresh[number]

    return Rewriter(change).run(computation)


def _with_called(kernel: Kernel) -> Kernel:
    root = kernel.root
    if root.opcode not in CONTROL:
        return kernel
    if root.opcode == "conditional":
        branches = root.attr(Conditional).branches
        return replace(kernel, called=tuple(schedule(b) for b in branches))
    attrs = root.attr(While)
    condition = schedule(attrs.condition)
    carried = carried_elements(root)
    body = schedule(_restricted(attrs.body, carried))
    return replace(kernel, called=(condition, _update_in_place(body, carried)))


def _restricted(body: Computation, carried: tuple[int, ...]) -> Computation:
    """The body with only the elements that it changes as its results."""
    root = body.root
    if isinstance(root.shape, Shape):
        return body
    results = tuple(tuple_elements(root)[n] for n in carried)
    shape = TupleShape(tuple(r.shape for r in results))
    new_root = Instruction(f"{root.name}.carried", "tuple", shape, results)
    return unique_names(make_computation(body.name, new_root, body.parameters))


def _update_in_place(body: Schedule, carried: tuple[int, ...]) -> Schedule:
    reads = state_reads(body.computation)
    kernels = list(body.kernels)
    for output, number in zip(body.outputs, carried, strict=True):
        if output.opcode != "dynamic-update-slice":
            continue
        state = {id(i) for i in reads.get(number, ())}
        if id(storage_of(output.operands[0])) not in state:
            continue
        position = next(n for n, k in enumerate(kernels) if k.root is output)
        later = kernels[position + 1 :]
        if any(id(storage_of(leaf)) in state for k in later for leaf in k.leaves):
            continue
        if _reads_elsewhere(kernels[position], state):
            continue
        leaves = tuple(
            leaf for leaf in kernels[position].leaves if id(storage_of(leaf)) not in state
        )
        kernels[position] = replace(kernels[position], in_place=True, leaves=leaves)
    return replace(body, kernels=tuple(kernels))


def _reads_elsewhere(kernel: Kernel, state: set[int]) -> bool:
    """Whether a kernel reads the state other than as what its root updates."""
    for member in kernel.members:
        operands = member.operands[1:] if member is kernel.root else member.operands
        if any(id(storage_of(o)) in state for o in operands):
            # A reshape on the way to the root's first operand is the root's own reading.
            if member.opcode == "reshape" and storage_of(kernel.root.operands[0]) is storage_of(
                member
            ):
                continue
            return True
    return False
