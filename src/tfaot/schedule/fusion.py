"""Fusion: the instructions of a computation grouped into kernels.

Input: a computation after the passes. Output: `Schedule`, the kernels in the order in which they
run. A kernel evaluates one fused expression for every element of its result. Its members are
inlined into that expression; what it reads from memory are its leaves: parameters, constants, and
results of earlier kernels. A kernel may be built around an anchor (a dot or a reduction), and the
elementwise ops that follow the anchor run on its tile or accumulator: the epilogue.

An instruction gets a kernel of its own where it is an output, where its opcode asks for it, where
several kernels need it and it costs more than moving data, or where inlining would compute it again
for every outer index. Reshapes never move data: a reshape of a stored array is the same array.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tfaot.errors import UnsupportedError
from tfaot.ir.attributes import Broadcast, GetTupleElement
from tfaot.ir.module import (
    Computation,
    Instruction,
    known_value,
    make_computation,
    unique_names,
    users,
)
from tfaot.ir.shapes import BatchDim, Dim, Shape, TupleShape, product


@dataclass(frozen=True)
class AnchorTraits:
    """How a kernel is built around an opcode.

    Attributes:
        stores_operands: whether the array operands must lie in memory (scalars never need to);
            otherwise they are inlined into the kernel.
        has_epilogue: whether elementwise ops that follow may run on its results in registers.
    """

    stores_operands: bool = True
    has_epilogue: bool = False


ANCHORS: dict[str, AnchorTraits] = {
    "dot": AnchorTraits(has_epilogue=True),
    "reduce": AnchorTraits(stores_operands=False, has_epilogue=True),
    "convolution": AnchorTraits(has_epilogue=True),
    "reduce-window": AnchorTraits(),
    "select-and-scatter": AnchorTraits(),
    "scatter": AnchorTraits(),
    "sort": AnchorTraits(stores_operands=False),
    "fft": AnchorTraits(),
    "cholesky": AnchorTraits(),
    "triangular-solve": AnchorTraits(),
    "rng-bit-generator": AnchorTraits(),
    "custom-call": AnchorTraits(),
    "while": AnchorTraits(),
    "conditional": AnchorTraits(),
}
"""Opcodes that a kernel is built around."""

SEGMENTED = frozenset({"concatenate", "pad", "dynamic-update-slice"})
"""Opcodes whose result is written piece by piece, so that they are kernels of their own."""

DATA_MOVEMENT = frozenset(
    {
        "broadcast",
        "reshape",
        "transpose",
        "slice",
        "reverse",
        "iota",
        "convert",
        "copy",
        "constant",
        "get-dimension-size",
        "opt-barrier",
    }
)
"""Opcodes cheap enough to be evaluated again by every kernel that needs them."""

_NOT_ELEMENTWISE = (
    DATA_MOVEMENT - {"convert", "copy", "opt-barrier"}
    | SEGMENTED
    | frozenset(ANCHORS)
    | {"gather", "dynamic-slice"}
    | {"parameter", "get-tuple-element", "tuple"}
)


DEEPEST = 100
"""How many ops may follow each other inside a kernel: what emits them calls itself for each.

A chain that is longer becomes several kernels; no bit depends on where it is cut.
"""


@dataclass(frozen=True, eq=False)
class Kernel:
    """Instructions that run together.

    Attributes:
        root: the instruction whose value is computed (never a reshape).
        results: the instructions whose values are stored, None where an element of a tuple-valued
            root is not needed: the root alone, or its get-tuple-elements by number.
        anchor: the dot or reduction that the kernel is built around, None for a plain loop.
        members: all instructions evaluated in it, operands first.
        leaves: the stored arrays that it reads.
        in_place: whether the result takes the place of the root's first operand, which is then no
            leaf: only what changes is written.
        called: the schedules of the computations that a `while` or `conditional` calls.
        stages: the kernels that a row kernel consists of (see `schedule.rows`).
    """

    root: Instruction
    results: tuple[Instruction | None, ...]
    anchor: Instruction | None
    members: tuple[Instruction, ...]
    leaves: tuple[Instruction, ...]
    in_place: bool = False
    called: tuple[Schedule, ...] = ()
    stages: tuple[Kernel, ...] = ()

    @property
    def kind(self) -> str:
        """What the manifest calls it: its anchor's opcode, `rows`, or `loop`."""
        if self.stages:
            return "rows"
        return self.anchor.opcode if self.anchor is not None else "loop"

    @property
    def layers(self) -> tuple[str, ...]:
        """The TensorFlow layers (op names) that its members came from, in order, each once."""
        names = (m.metadata.op_name for m in self.members)
        return tuple(dict.fromkeys(n for n in names if n))


@dataclass(frozen=True, eq=False)
class Schedule:
    """Kernels in order, and the stored instruction behind each output."""

    computation: Computation
    kernels: tuple[Kernel, ...]
    outputs: tuple[Instruction, ...]


def storage_of(instruction: Instruction) -> Instruction:
    """The instruction whose stored array holds this one's value, seen through reshapes."""
    while instruction.opcode == "reshape":
        instruction = instruction.operands[0]
    return instruction


CONTROL = frozenset({"while", "conditional"})
"""Anchors that run other schedules; all their operands lie in memory, scalars too."""


def stored_operands(anchor: Instruction) -> tuple[Instruction, ...]:
    """The operands of an anchor that lie in memory: its arrays, or elements of its tuples."""
    if anchor.opcode not in CONTROL:
        operands = anchor.operands
        if anchor.opcode == "scatter":
            # What is scattered to is copied, each element once: it may as well be computed then.
            operands = operands[len(operands) // 2 :]
        return tuple(o for o in operands if not _is_scalar(o))
    return tuple(e for o in anchor.operands for e in tuple_elements(o))


def tuple_elements(value: Instruction) -> tuple[Instruction, ...]:
    """The elements of a `tuple`, or the array itself."""
    if isinstance(value.shape, Shape):
        return (value,)
    if value.opcode != "tuple" or any(isinstance(e, TupleShape) for e in value.shape.elements):
        raise UnsupportedError(
            f"a nested tuple is passed on by '{value.opcode}' {value.shape} "
            f"in layer '{value.metadata.op_name or 'unknown'}': it has no code generation"
        )
    return value.operands


def _is_scalar(instruction: Instruction) -> bool:
    return isinstance(instruction.shape, Shape) and instruction.shape.rank == 0


def is_elementwise(instruction: Instruction) -> bool:
    """Whether each element depends on the operands' elements at the same place only."""
    return instruction.opcode not in _NOT_ELEMENTWISE


def group(computation: Computation) -> Schedule:
    """Group the instructions of `computation` into kernels (see `schedule.control` for loops)."""
    computation = _copy_shared_outputs(computation)
    return _Fuser(computation).run()


def outputs_of(computation: Computation) -> tuple[Instruction, ...]:
    """The elements of the root tuple, or the root."""
    root = computation.root
    return root.operands if root.opcode == "tuple" else (root,)


def is_given(stored: Instruction) -> bool:
    """Whether a stored value exists before the computation runs."""
    if stored.opcode == "get-tuple-element":
        return stored.operands[0].opcode == "parameter"
    return stored.opcode in ("parameter", "constant")


def _is_strided_state(stored: Instruction) -> bool:
    """Whether this is a loop's or branch's result whose batch axis is not its first dimension.

    As an output it may be one tile of a larger array, which only kernels know how to write.
    """
    if stored.opcode != "get-tuple-element" and stored.opcode not in CONTROL:
        return False
    if stored.opcode == "get-tuple-element" and stored.operands[0].opcode not in CONTROL:
        return False
    return any(isinstance(d, BatchDim) for d in stored.array.dims[1:])


def _copy_shared_outputs(computation: Computation) -> Computation:
    """Give every output an array of its own, by copies of parameters, constants and duplicates."""
    outputs = outputs_of(computation)
    taken: set[int] = set()
    fresh: list[Instruction] = []
    for number, output in enumerate(outputs):
        stored = storage_of(output)
        if is_given(stored) or id(stored) in taken or _is_strided_state(stored):
            output = Instruction(f"output_copy.{number}", "copy", output.shape, (output,))
            stored = output
        taken.add(id(stored))
        fresh.append(output)
    if all(a is b for a, b in zip(outputs, fresh, strict=True)):
        return computation
    if computation.root.opcode == "tuple":
        root = replace(computation.root, operands=tuple(fresh))
    else:
        root = fresh[0]
    return unique_names(make_computation(computation.name, root, computation.parameters))


class _Fuser:
    def __init__(self, computation: Computation) -> None:
        self.computation = computation
        self.order = [
            i for i in computation.instructions if i is not computation.root or i.opcode != "tuple"
        ]
        self.users = users(computation)
        self.outputs = outputs_of(computation)
        self.stored: set[int] = set()
        self.inlined_in: dict[int, dict[int, Instruction]] = {}
        self.replicated: set[int] = set()
        self.depth: dict[int, int] = {}

    def run(self) -> Schedule:
        forced = self._forced()
        roots: list[Instruction] = []
        for instruction in reversed(self.order):
            if instruction.opcode in ("parameter", "tuple", "get-tuple-element"):
                continue
            if instruction.opcode == "constant":
                continue
            if instruction.opcode == "reshape" and id(instruction) in forced:
                continue
            homes = self._homes(instruction)
            if not homes and id(instruction) not in forced:
                continue
            depth = self._depth(instruction)
            too_deep = depth > DEEPEST and not _is_cheap_again(instruction, depth)
            if id(instruction) in forced or too_deep or self._needs_storage(instruction, homes):
                roots.append(instruction)
                self.inlined_in[id(instruction)] = {id(instruction): instruction}
                # What is stored is computed once, and so are its operands.
                self.replicated.discard(id(instruction))
                self.depth[id(instruction)] = 0
            else:
                self.inlined_in[id(instruction)] = homes
                self.depth[id(instruction)] = depth
        self.stored = {id(r) for r in roots}
        roots.reverse()
        members: dict[int, list[Instruction]] = {id(r): [] for r in roots}
        for instruction in self.order:
            for home in self.inlined_in.get(id(instruction), {}):
                members[home].append(instruction)
        kernels = [self._kernel(r, members[id(r)]) for r in roots]
        kernels = self._fuse_epilogues(kernels)
        position = {id(i): n for n, i in enumerate(self.order)}
        kernels.sort(key=lambda k: position[id(k.root)])
        return Schedule(self.computation, tuple(kernels), tuple(map(storage_of, self.outputs)))

    def _forced(self) -> set[int]:
        forced = {id(storage_of(o)) for o in self.outputs}
        for instruction in self.order:
            traits = ANCHORS.get(instruction.opcode)
            if traits or instruction.opcode in SEGMENTED:
                forced.add(id(instruction))
            if traits and traits.stores_operands:
                forced.update(id(storage_of(o)) for o in stored_operands(instruction))
            if instruction.opcode == "get-tuple-element":
                forced.discard(id(instruction))
        return forced

    def _homes(self, instruction: Instruction) -> dict[int, Instruction]:
        """The kernels (by root) in which the users of `instruction` are evaluated."""
        homes: dict[int, Instruction] = {}
        for user in self.users[id(instruction)]:
            if user.opcode == "tuple":
                continue
            homes.update(self.inlined_in.get(id(user), {}))
            if id(user) in self.replicated or _repeats_operand(user):
                self.replicated.add(id(instruction))
        return homes

    def _depth(self, instruction: Instruction) -> int:
        """How many ops lie between `instruction` and the farthest root that it is inlined in."""
        above = (self.depth.get(id(user), 0) for user in self.users[id(instruction)])
        return 1 + max(above, default=0)

    def _needs_storage(self, instruction: Instruction, homes: dict[int, Instruction]) -> bool:
        if instruction.opcode in DATA_MOVEMENT:
            return False
        return len(homes) > 1 or id(instruction) in self.replicated

    def _kernel(self, root: Instruction, members: Iterable[Instruction]) -> Kernel:
        anchor = root if root.opcode in ANCHORS else None
        results: tuple[Instruction | None, ...] = (root,)
        if isinstance(root.shape, TupleShape):
            by_number = {
                u.attr(GetTupleElement).index: u
                for u in self.users[id(root)]
                if u.opcode == "get-tuple-element"
            }
            results = tuple(by_number.get(n) for n in range(len(root.shape.elements)))
        return _with_leaves(root, results, anchor, tuple(members))

    def _fuse_epilogues(self, kernels: list[Kernel]) -> list[Kernel]:
        """Move anchors into the one kernel that consumes them, where it runs over the same rows."""
        outputs = {id(storage_of(o)) for o in self.outputs}
        result = list(kernels)
        for kernel in reversed(kernels):
            anchor = kernel.anchor
            if anchor is None or anchor is not kernel.root or id(anchor) in outputs:
                continue
            if not ANCHORS[anchor.opcode].has_epilogue:
                continue
            if isinstance(anchor.shape, TupleShape):
                continue
            readers = [k for k in result if any(leaf is anchor for leaf in k.leaves)]
            if len(readers) != 1 or readers[0].anchor is not None:
                continue
            reader = readers[0]
            if reader.root.opcode in SEGMENTED or not _same_rows(reader.root.array.dims, anchor):
                continue
            if not _reads_in_place(reader, anchor):
                continue
            members = (*kernel.members, *reader.members)
            fused = _with_leaves(reader.root, reader.results, anchor, members)
            result[next(n for n, k in enumerate(result) if k is reader)] = fused
            result = [k for k in result if k is not kernel]
        return result


def _with_leaves(
    root: Instruction,
    results: tuple[Instruction | None, ...],
    anchor: Instruction | None,
    members: tuple[Instruction, ...],
) -> Kernel:
    inside = {id(m) for m in members}
    leaves: dict[int, Instruction] = {}
    for member in members:
        for operand in member.operands:
            if id(operand) in inside:
                continue
            traits = ANCHORS.get(member.opcode)
            if member.opcode in CONTROL:
                for element in tuple_elements(operand):
                    leaves[id(storage_of(element))] = storage_of(element)
                continue
            stores = traits is not None and traits.stores_operands
            if stores and any(o is operand for o in stored_operands(member)):
                leaves[id(storage_of(operand))] = storage_of(operand)
                continue
            if isinstance(operand.shape, Shape) and not _is_immediate(operand):
                leaves[id(operand)] = operand
    return Kernel(root, results, anchor, members, tuple(leaves.values()))


def _is_cheap_again(instruction: Instruction, depth: int) -> bool:
    """Whether `instruction` only moves data, so that what it moves is better stored than itself."""
    return instruction.opcode in DATA_MOVEMENT and depth <= 2 * DEEPEST


def _is_immediate(instruction: Instruction) -> bool:
    """Whether this is a constant that code holds itself: one real element."""
    value = known_value(instruction)
    return value is not None and value.size == 1 and not instruction.array.dtype.is_complex


def _repeats_operand(user: Instruction) -> bool:
    """Whether evaluating `user` evaluates its operand several times, in an outer loop."""
    if user.opcode in ("gather", "dynamic-slice"):
        return True
    if user.opcode != "broadcast":
        return False
    dimensions = user.attr(Broadcast).dimensions
    if not dimensions:
        return False
    dims = user.array.dims
    return any(d not in dimensions and dims[d] != 1 for d in range(max(dimensions)))


def _same_rows(dims: tuple[Dim, ...], anchor: Instruction) -> bool:
    """Whether an array has the anchor's elements in the same order, in rows of the same length."""
    own = anchor.array.dims
    if dims == own:
        return True
    if anchor.opcode not in ("dot", "convolution") or not own:
        return False
    if own[-1] == 1 and _product(dims) == _product(own):
        return True
    return bool(dims) and dims[-1] == own[-1] and _product(dims[:-1]) == _product(own[:-1])


def _product(dims: tuple[Dim, ...]) -> Dim | None:
    try:
        return product(dims)
    except TypeError:
        return None


def _reads_in_place(reader: Kernel, anchor: Instruction) -> bool:
    """Whether the kernel reads the anchor at the element that it is computing, and only there."""
    in_place: set[int] = {id(reader.root)}
    elsewhere: set[int] = set()
    for member in reversed(reader.members):
        for operand in member.operands:
            if id(member) in in_place and _keeps_place(member, operand, anchor):
                in_place.add(id(operand))
            else:
                elsewhere.add(id(operand))
            if id(member) in elsewhere:
                elsewhere.add(id(operand))
    return id(anchor) not in elsewhere


def _keeps_place(member: Instruction, operand: Instruction, anchor: Instruction) -> bool:
    """Whether `member` at some element needs `operand` at the same element only."""
    if not (isinstance(member.shape, Shape) and isinstance(operand.shape, Shape)):
        return False
    if member.opcode == "reshape":
        return all(_same_rows(x.array.dims, anchor) for x in (member, operand))
    return is_elementwise(member) and member.shape.dims == operand.shape.dims
