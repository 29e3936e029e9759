"""Counted loops for `ir.IRBuilder`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.index import Number, as_value
from tfaot.codegen.types import I64


@contextmanager
def for_range(
    builder: ir.IRBuilder, start: Number, stop: Number, step: Number = 1, name: str = "i"
) -> Iterator[Number]:
    """Emit the body for each i in range(start, stop, step), step > 0; yields i.

    A loop of one known iteration becomes straight-line code.
    """
    match start, stop, step:
        case int(), int(), int() if start < stop <= start + step:
            yield start
            return
    with Loop(builder, start, stop, step, (), name) as loop:
        yield loop.index


@dataclass
class Loop:
    """A counted loop that carries values from one iteration to the next.

    Inside the `with` block, `index` is the counter and `carried` are this iteration's values; call
    `update` with the next ones. After the block, `results` are the values after the last iteration
    (the initial ones where there was none).
    """

    builder: ir.IRBuilder
    start: Number
    stop: Number
    step: Number
    initial: Sequence[ir.Value]
    name: str = "i"

    def __enter__(self) -> Loop:
        builder = self.builder
        entry = builder.block
        self._head = builder.append_basic_block(f"{self.name}.head")
        body = builder.append_basic_block(f"{self.name}.body")
        self._exit = builder.append_basic_block(f"{self.name}.exit")
        builder.branch(self._head)
        builder.position_at_end(self._head)
        self._counter = builder.phi(I64, name=self.name)
        self._counter.add_incoming(as_value(self.start), entry)
        self._carried = [builder.phi(v.type) for v in self.initial]
        for phi, value in zip(self._carried, self.initial, strict=True):
            phi.add_incoming(value, entry)
        more = builder.icmp_signed("<", self._counter, as_value(self.stop))
        builder.cbranch(more, body, self._exit)
        builder.position_at_end(body)
        self._next: Sequence[ir.Value] = list(self._carried)
        return self

    @property
    def index(self) -> ir.Value:
        """The counter."""
        return self._counter

    @property
    def carried(self) -> Sequence[ir.Value]:
        """This iteration's carried values."""
        return self._carried

    @property
    def results(self) -> Sequence[ir.Value]:
        """The carried values after the loop."""
        return self._carried

    def update(self, values: Sequence[ir.Value]) -> None:
        """Set the next iteration's carried values."""
        self._next = values

    def __exit__(self, *_: object) -> None:
        builder = self.builder
        latch = builder.block
        following = builder.add(self._counter, as_value(self.step), flags=("nsw",))
        builder.branch(self._head)
        self._counter.add_incoming(following, latch)
        for phi, value in zip(self._carried, self._next, strict=True):
            phi.add_incoming(value, latch)
        builder.position_at_end(self._exit)


def while_loop(
    builder: ir.IRBuilder,
    initial: Sequence[ir.Value],
    condition: Callable[[Sequence[ir.Value]], ir.Value],
    body: Callable[[Sequence[ir.Value]], Sequence[ir.Value]],
    name: str = "while",
) -> Sequence[ir.Value]:
    """Emit `while condition(values): values = body(values)`.

    Args:
        builder: where code goes.
        initial: the carried values at first.
        condition: emits whether to go on (i1); it may open blocks.
        body: emits one iteration and gives the next values.
        name: of the blocks.

    Returns:
        The values for which `condition` does not hold.
    """
    entry = builder.block
    head = builder.append_basic_block(f"{name}.head")
    inside = builder.append_basic_block(f"{name}.body")
    after = builder.append_basic_block(f"{name}.exit")
    builder.branch(head)
    builder.position_at_end(head)
    carried = [builder.phi(v.type) for v in initial]
    for phi, value in zip(carried, initial, strict=True):
        phi.add_incoming(value, entry)
    builder.cbranch(condition(carried), inside, after)
    builder.position_at_end(inside)
    following = body(carried)
    latch = builder.block
    builder.branch(head)
    for phi, value in zip(carried, following, strict=True):
        phi.add_incoming(value, latch)
    builder.position_at_end(after)
    return carried
