"""The self-test of an artifact: golden rows inside of it, and NAME_self_test, which runs them.

Input: the entry point. Output: a function that tells whether this CPU computes, bit for bit, what
the one on which the model was compiled and verified did; and where in the object the golden rows
go. They are filled in once the object exists and ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

from llvmlite import ir

from tfaot.codegen.body import Variant
from tfaot.codegen.data import LateData
from tfaot.codegen.dispatch import EXPORTED, Dispatch
from tfaot.codegen.index import as_value
from tfaot.codegen.loops import Loop
from tfaot.codegen.microkernel import POINTER
from tfaot.codegen.target import Target
from tfaot.codegen.types import I8, I32
from tfaot.schedule.sizes import Bytes, round_up
from tfaot.signature import Signature, TensorSpec

OK, NULL_POINTER, FAILED = 0, 2, 17
"""Status codes, beside those of NAME_run."""

ROWS = 3
MOST_BYTES = 1 << 20
"""Golden rows of more bytes are one row alone."""


@dataclass(frozen=True)
class SelfTestLayout:
    """Where the golden rows are.

    Attributes:
        batch: how many rows.
        marker: what to look for in the object, to put them there.
        inputs: offset and bytes of each input in the data.
        outputs: bytes of each output; the results of one level follow those of another.
        levels: how many sets of results there are, one for each instruction set, ascending.
        workspace: bytes that NAME_self_test takes.
    """

    batch: int
    marker: bytes
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]
    levels: int
    workspace: int

    def data(self, inputs: Sequence[bytes], results: Sequence[Sequence[bytes]]) -> bytes:
        """The golden rows: inputs, then for each CPU the outputs."""
        return b"".join(_padded(part) for part in (*inputs, *(r for rs in results for r in rs)))


def _padded(part: bytes) -> bytes:
    return part.ljust(round_up(len(part)), b"\0")


@dataclass
class SelfTest:
    """Emits NAME_self_test.

    Attributes:
        module: where it goes; it has NAME_run already.
        name: the model's name.
        signature: its inputs and outputs.
        targets: the instruction sets in the object.
        variants: the model's variants, for a batch size that it takes.
        workspace: bytes of workspace, a polynomial in n.
    """

    module: ir.Module
    name: str
    signature: Signature
    targets: Sequence[Target]
    variants: Sequence[Variant]
    workspace: Bytes

    @property
    def data(self) -> LateData:
        """The golden rows' place."""
        return LateData(self.module, f"{self.name}_golden")

    @property
    def batch(self) -> int:
        """How many golden rows there are."""
        static = [v.batch for v in self.variants if v.batch is not None]
        if static:
            return min(static)
        if not self.signature.has_batch:
            return 1
        specs = (*self.signature.inputs, *self.signature.outputs)
        return ROWS if sum(_bytes(spec, ROWS) for spec in specs) <= MOST_BYTES else 1

    @property
    def layout(self) -> SelfTestLayout:
        """Where everything is."""
        batch = self.batch
        inputs = [_bytes(spec, batch) for spec in self.signature.inputs]
        outputs = tuple(_bytes(spec, batch) for spec in self.signature.outputs)
        offsets = [0, *accumulate(map(round_up, inputs))]
        return SelfTestLayout(
            batch=batch,
            marker=self.data.marker,
            inputs=tuple(zip(offsets, inputs, strict=False)),
            outputs=outputs,
            levels=len(self.targets),
            workspace=sum(map(round_up, outputs)) + self.workspace.at(batch),
        )

    def emit(self, dispatch: Dispatch | None) -> None:
        """Emit NAME_self_test(workspace): the status of the run, or whether a bit differs."""
        layout, golden = self.layout, self.data.declare()
        function = ir.Function(
            self.module, ir.FunctionType(I32, [POINTER]), f"{self.name}_self_test"
        )
        function.linkage = EXPORTED
        (workspace,) = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        null = builder.icmp_unsigned("==", workspace, ir.Constant(POINTER, None))
        with builder.if_then(null, likely=False):
            builder.ret(ir.Constant(I32, NULL_POINTER))

        def at(base: ir.Value, offset: ir.Value | int) -> ir.Value:
            place = builder.gep(base, [as_value(offset)], source_etype=I8)
            place.type = ir.PointerType()
            return place

        inputs = [at(golden, offset) for offset, _ in layout.inputs]
        places = [0, *accumulate(map(round_up, layout.outputs))]
        outputs = [at(workspace, place) for place in places]
        run = self.module.globals[f"{self.name}_run"]
        status = builder.call(run, [as_value(layout.batch), *inputs, *outputs])
        with builder.if_then(builder.icmp_signed("!=", status, ir.Constant(I32, OK))):
            builder.ret(status)
        first = sum(round_up(size) for _, size in layout.inputs)
        expected: ir.Value = as_value(first)
        if dispatch is not None:
            level = dispatch.chosen(builder)
            for number, target in enumerate(self.targets):
                this = builder.icmp_signed("==", level, ir.Constant(I32, target.level))
                expected = builder.select(this, as_value(first + number * places[-1]), expected)
        differs: ir.Value = ir.Constant(I8, 0)
        for place, size in zip(places, layout.outputs, strict=False):
            wanted = at(golden, builder.add(expected, as_value(place)))
            with Loop(builder, 0, size, 1, [differs], "byte") as loop:
                (before,) = loop.carried
                ours = builder.gep(at(workspace, place), [loop.index], source_etype=I8)
                theirs = builder.gep(wanted, [loop.index], source_etype=I8)
                unlike = builder.xor(builder.load(ours, typ=I8), builder.load(theirs, typ=I8))
                loop.update([builder.or_(before, unlike)])
            (differs,) = loop.results
        same = builder.icmp_unsigned("==", differs, ir.Constant(I8, 0))
        builder.ret(builder.select(same, ir.Constant(I32, OK), ir.Constant(I32, FAILED)))

    def define(self, text: str) -> str:
        """The module's text with room for the golden rows."""
        layout = self.layout
        inputs = sum(round_up(size) for _, size in layout.inputs)
        size = inputs + layout.levels * sum(map(round_up, layout.outputs))
        return self.data.define(text, size)


def _bytes(spec: TensorSpec, batch: int) -> int:
    return prod(spec.sizes(batch)) * spec.dtype.itemsize
