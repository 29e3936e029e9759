"""The walk over the module: from the inputs' rows to the outputs'."""

from __future__ import annotations

from dataclasses import dataclass, field

from tfaot.ir.attributes import Parameter
from tfaot.ir.module import Computation, Instruction, Module
from tfaot.ir.shapes import AnyShape, BatchDim, Shape, TupleShape
from tfaot.passes.batch_parallel.facts import (
    TRANSFERS,
    UNIFORM,
    Fact,
    FactTree,
    MixedRowsError,
    RowLayout,
    batch_dimensions,
    depends_on_batch,
    layout_of_copies,
)


@dataclass(frozen=True, eq=False)
class BatchAnalysis:
    """Where the batch rows of a module lie, and whether they stay apart.

    Attributes:
        independent: whether each row of the outputs depends on the same row of the inputs alone,
            neither on other rows, nor on its position, nor on the batch size.
        reason: where they do not: the op, its shape and layer that mixes rows.
        inputs: layout of each entry parameter; None for inputs without a batch axis.
        outputs: layout of each output; None for outputs that are the same for every batch.
        facts: what is known of each instruction, called computations included, by `id`. Where rows
            are not independent, only of the instructions before the one that `reason` names.
        mixing: the instruction that `reason` names, where it is one.
    """

    independent: bool
    reason: str
    inputs: tuple[RowLayout | None, ...]
    outputs: tuple[RowLayout | None, ...]
    facts: dict[int, FactTree] = field(repr=False)
    mixing: Instruction | None = None

    def layout(self, instruction: Instruction) -> RowLayout | None:
        """The layout of an array-valued instruction; None where it holds no rows."""
        fact = self.facts.get(id(instruction), UNIFORM)
        assert isinstance(fact, Fact), instruction
        return fact.layout


def analyse_batch(module: Module) -> BatchAnalysis:
    """Follow the batch rows from the inputs to the outputs of a symbolic module.

    Args:
        module: a valid module with dimensions affine in B. Calls need not be inlined.

    Returns:
        The layouts, and whether the rows are independent. Ops without a rule, and models without a
        batch axis, count as dependent, with the reason.
    """
    analyser = Analyser()
    inputs: tuple[RowLayout | None, ...] = ()
    try:
        arguments = tuple(_argument(p) for p in module.entry.parameters)
        inputs = tuple(f.layout if isinstance(f, Fact) else None for f in arguments)
        analyser.run(module.entry, arguments)
        outputs = tuple(_output(analyser, o) for o in module.outputs)
    except MixedRowsError as error:
        return BatchAnalysis(False, str(error), inputs, (), analyser.facts, error.instruction)
    if not any(inputs):
        return BatchAnalysis(False, "no input has a batch axis", inputs, outputs, analyser.facts)
    return BatchAnalysis(True, "", inputs, outputs, analyser.facts)


def _argument(parameter: Instruction) -> FactTree:
    if isinstance(parameter.shape, Shape):
        return Fact(layout_of_copies(parameter))
    if depends_on_batch(parameter.shape):
        raise MixedRowsError(parameter, "is a tuple of inputs with batch rows")
    return uniform(parameter.shape)


def _output(analyser: Analyser, output: Instruction) -> RowLayout | None:
    fact = analyser.facts[id(output)]
    if not isinstance(fact, Fact):
        raise MixedRowsError(output, "is a nested tuple of outputs")
    if fact.position is not None:
        raise MixedRowsError(fact.position, "makes a row's result depend on its position")
    if fact.size is not None:
        raise MixedRowsError(fact.size, "makes results depend on the batch size")
    return fact.layout


def uniform(shape: Shape | TupleShape) -> FactTree:
    """The facts of a value that does not depend on the batch."""
    if isinstance(shape, TupleShape):
        return tuple(uniform(e) for e in shape)
    return UNIFORM


class Analyser:
    """Evaluates computations on facts instead of values."""

    def __init__(self) -> None:
        self.facts: dict[int, FactTree] = {}

    def run(self, computation: Computation, arguments: tuple[FactTree, ...]) -> FactTree:
        """The fact of the root for those of the parameters; MixedRowsError where rows mix."""
        for node in computation.instructions:
            if node.opcode == "parameter":
                fact = arguments[node.attr(Parameter).number]
            else:
                fact = self._apply(node)
            self.facts[id(node)] = fact
        return self.facts[id(computation.root)]

    def _apply(self, node: Instruction) -> FactTree:
        operands = tuple(self.facts[id(o)] for o in node.operands)
        if node.opcode in STRUCTURED:
            return STRUCTURED[node.opcode](node, operands, self)
        arrays = tuple(f for f in operands if isinstance(f, Fact))
        rule = TRANSFERS.get(node.opcode)
        if rule is not None and len(arrays) == len(operands):
            return _checked(node, node.shape, rule(node, arrays, self))
        if all(_is_uniform(f) for f in operands) and not depends_on_batch(node.shape):
            return uniform(node.shape)
        raise MixedRowsError(node, "is not known to keep batch rows apart")


def _checked(node: Instruction, shape: AnyShape, fact: FactTree) -> FactTree:
    """`fact`, after a check that the shape has a batch axis exactly where the fact has rows."""
    if isinstance(shape, TupleShape):
        assert isinstance(fact, tuple)
        for element, inner in zip(shape, fact, strict=True):
            _checked(node, element, inner)
        return fact
    assert isinstance(fact, Fact)
    expected = [] if fact.layout is None else [fact.layout.dimension]
    if list(batch_dimensions(shape)) != expected or (
        fact.layout is not None
        and shape.dims[fact.layout.dimension] != BatchDim(fact.layout.rows_per_row)
    ):
        raise MixedRowsError(node, "has an axis that grows with the batch but holds no batch rows")
    return fact


def _is_uniform(fact: FactTree) -> bool:
    if isinstance(fact, tuple):
        return all(_is_uniform(f) for f in fact)
    return fact.plain


from tfaot.passes.batch_parallel.control import STRUCTURED  # noqa: E402  (needs Analyser)
