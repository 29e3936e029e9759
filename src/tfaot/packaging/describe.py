"""Fills the manifest's section `internals` from the schedules that code was generated of.

Input: the variants of a model, and what its passes did. Output: `Internals`. Schedules are walked
in the order in which their kernels are called in the generated code, which is the order of the
manifest's kernels: a loop's condition and its body, the branches of a conditional.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from tfaot.codegen.body import Variant
from tfaot.codegen.kernels.packing import packed_constants
from tfaot.ir.attributes import Constant, Parameter
from tfaot.ir.module import Instruction
from tfaot.mapped import let_go, raw_bytes
from tfaot.packaging.internals import (
    Buffer,
    Folding,
    Internals,
    KernelPlan,
    PassCount,
    Plan,
    Weight,
)
from tfaot.passes.log import PassLog
from tfaot.schedule.arena import (
    Arena,
    byte_size,
    control_layout,
    lifetimes,
    plan_arena,
    stored_results,
)
from tfaot.schedule.control import carried_elements, state_reads
from tfaot.schedule.fusion import Kernel, Schedule, storage_of, tuple_elements
from tfaot.schedule.sizes import NOTHING, Bytes, round_up
from tfaot.schedule.weights import PANEL, panel_stride

_Sources = frozenset[int]
"""Kernels (0, 1, ...) and inputs of the model (-1, -2, ...) that a value comes from."""


def internals_of(variants: Sequence[Variant], log: PassLog | None = None) -> Internals:
    """What the kernels of all variants are made of, and where their data lies."""
    walk = _Walk()
    plans = [walk.variant(v) for v in variants]
    return Internals(
        kernels=tuple(walk.kernels),
        plans=tuple(plans),
        weights=tuple(walk.weights.values()),
        passes=tuple(PassCount(**asdict(p)) for p in log.passes) if log else (),
        foldings=tuple(Folding(**asdict(f)) for f in log.foldings) if log else (),
    )


@dataclass
class _Walk:
    kernels: list[KernelPlan] = field(default_factory=list)
    weights: dict[bytes, Weight] = field(default_factory=dict)
    _known: dict[int, bytes] = field(default_factory=dict)
    _sources: dict[int, _Sources] = field(default_factory=dict)
    _outputs: dict[int, int] = field(default_factory=dict)
    _buffers: list[Buffer] = field(default_factory=list)
    _rows: int | None = None

    def variant(self, variant: Variant) -> Plan:
        schedule, start = variant.schedule, len(self.kernels)
        self._rows, self._buffers = variant.rows, []
        for parameter in schedule.computation.parameters:
            self._sources[id(parameter)] = frozenset({-1 - parameter.attr(Parameter).number})
        self._outputs = {id(o): n for n, o in enumerate(schedule.outputs)}
        arena = plan_arena(schedule, variant.rows)
        self._run(schedule, arena, NOTHING, ())
        count = len(self.kernels) - start
        buffers = sorted(self._buffers, key=lambda b: (b.first, b.offset, b.last))
        size = arena.size.coefficients
        return Plan(variant.batch, variant.tile, (start, count), size, tuple(buffers))

    def _run(self, schedule: Schedule, arena: Arena, base: Bytes, inside: tuple[str, ...]) -> None:
        packed = packed_constants(schedule)
        spans: list[tuple[int, int]] = []
        start = len(self.kernels)
        for kernel in schedule.kernels:
            first = len(self.kernels)
            if kernel.called:
                self._control(kernel, base + arena.offsets.get(id(kernel), NOTHING), inside)
            else:
                self._kernel(kernel, packed, inside)
            # One that calls nothing but empty computations has no kernel of its own.
            last = max(len(self.kernels) - 1, start)
            spans.append((min(first, last), last))
        values = {id(r): r for k in schedule.kernels for r in stored_results(k)}
        loops = {id(k) for k in schedule.kernels if k.called}
        for place in lifetimes(schedule, self._rows):
            if place.owner in loops or not self.kernels:
                continue
            value = values.get(place.owner)
            self._place(
                "scratch" if value is None else "result",
                "" if value is None else str(value.shape),
                base + arena.offsets[place.owner],
                place.size,
                spans[place.first][0],
                spans[place.last][1],
            )

    def _place(
        self, kind: str, shape: str, offset: Bytes, size: Bytes, first: int, last: int
    ) -> None:
        if self._rows is not None:
            size = Bytes.constant(round_up(size.at(self._rows)))
        self._buffers.append(
            Buffer(kind, shape, offset.coefficients, size.aligned().coefficients, first, last)
        )

    def _kernel(self, kernel: Kernel, packed: frozenset[int], inside: tuple[str, ...]) -> None:
        number, layers = len(self.kernels), list(kernel.layers)
        main = kernel.anchor or kernel.root
        reads: set[int] = set()
        for leaf in kernel.leaves:
            stored = storage_of(leaf)
            if stored.opcode == "constant":
                self._weight(stored, kernel, number, id(stored) in packed)
            else:
                reads |= self._sources.get(id(stored), frozenset())
        for result in stored_results(kernel):
            self._sources[id(result)] = frozenset({number})
        self.kernels.append(
            KernelPlan(
                main=main.metadata.op_name or next(iter((*layers, *reversed(inside))), ""),
                shapes=tuple(str(m.shape) for m in kernel.members),
                layers=tuple(
                    layers.index(m.metadata.op_name) if m.metadata.op_name else -1
                    for m in kernel.members
                ),
                reads=tuple(sorted(reads)),
                outputs=tuple(
                    self._outputs[id(r)] for r in stored_results(kernel) if id(r) in self._outputs
                ),
                inside=inside,
            )
        )

    def _weight(self, stored: Instruction, kernel: Kernel, number: int, packed: bool) -> None:
        value, origin = stored.attr(Constant).value, stored.attr(Constant).origin
        if id(stored) not in self._known:
            # As the blob does, which stores what is equal once.
            content = origin.encode() if origin else raw_bytes(value)
            kind = bytes([value.itemsize, packed, bool(origin)])
            self._known[id(stored)] = hashlib.sha256(content).digest() + kind
            let_go(value)
        key = self._known[id(stored)]
        if key in self.weights:
            return
        size = value.nbytes
        if packed and value.size:
            columns = value.shape[-1]
            depth, panels = value.size // columns, -(-columns // PANEL)
            elements = (panels - 1) * panel_stride(depth, value.itemsize)
            size = (elements + depth * (columns - (panels - 1) * PANEL)) * value.itemsize
        users = (m for m in kernel.members if any(storage_of(o) is stored for o in m.operands))
        names = (m.metadata.op_name for m in (*users, stored, kernel.anchor or kernel.root))
        layer = next((n for n in names if n), "")
        self.weights[key] = Weight(layer, number, str(stored.shape), size, packed)

    # Control flow

    def _control(self, kernel: Kernel, base: Bytes, inside: tuple[str, ...]) -> None:
        layout = control_layout(kernel, self._rows)
        inner = (*inside, kernel.root.metadata.op_name or kernel.root.opcode)
        start = len(self.kernels)
        operands = kernel.root.operands
        loop = kernel.root.opcode == "while"
        arguments = [operands[0]] * 2 if loop else operands[1:]
        for called, arena, argument in zip(kernel.called, layout.called, arguments, strict=True):
            elements = tuple_elements(argument)
            for number, found in state_reads(called.computation).items():
                sources = self._sources.get(id(storage_of(elements[number])), frozenset())
                for read in found:
                    self._sources[id(read)] = sources
            self._run(called, arena, base + layout.base, inner)
        results = kernel.called[-1].outputs
        numbers = carried_elements(kernel.root) if loop else range(len(results))
        self._results(kernel, numbers)
        last = max(len(self.kernels) - 1, start)
        if start < len(self.kernels):
            for places in (layout.state, layout.other):
                for output, offset in zip(results, places, strict=True):
                    if offset is not None:
                        size, shape = byte_size(output), str(output.shape)
                        self._place("state", shape, base + offset, size, start, last)

    def _results(self, kernel: Kernel, numbers: Iterable[int]) -> None:
        """What a loop or conditional gives comes from the kernels that end its computations."""
        bodies = kernel.called[1:] if kernel.root.opcode == "while" else kernel.called
        for position, number in enumerate(numbers):
            result = kernel.results[number]
            if result is None:
                continue
            found: _Sources = frozenset()
            for body in bodies:
                found |= self._sources.get(id(body.outputs[position]), frozenset())
            self._sources[id(result)] = found
            if id(result) in self._outputs:
                self._mark_output(found, self._outputs[id(result)])

    def _mark_output(self, sources: _Sources, output: int) -> None:
        for number in sorted(s for s in sources if s >= 0):
            old = self.kernels[number]
            outputs = (*old.outputs, output)
            self.kernels[number] = KernelPlan(
                old.main, old.shapes, old.layers, old.reads, outputs, old.inside
            )
