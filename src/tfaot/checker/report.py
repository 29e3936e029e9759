"""What a check finds: typed, and as plain data for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Answer(str, Enum):
    """An answer about one op."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    NOTHING_LEFT = "nothing left"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class OpReport:
    """A TensorFlow op of the model.

    Attributes:
        op: its name, such as `MatMul`.
        node: the node's name, with its scopes.
        layer: the layer or scope that it belongs to; for Keras models the layer with its class.
        function: the function of the graph that holds it (a loop's body, a branch); empty outside.
        inputs: types of its operands, such as `float32[n,8]`; n is the batch size, ? unknown.
        outputs: types of its results.
        xla: whether XLA compiles it. Unknown where it depends on what XLA refuses.
        xla_ops: the XLA ops that it became, after XLA's passes (`dot f32[n,16]`).
        generated: whether tfaot generates code for them. `NOTHING_LEFT`: XLA computed it, or made
            it part of other ops.
        problem: why it can't be compiled; empty where it can.
        advice: what to do about that.
    """

    op: str
    node: str
    layer: str
    function: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    xla: Answer
    xla_ops: tuple[str, ...]
    generated: Answer
    problem: str = ""
    advice: str = ""


@dataclass(frozen=True)
class BatchReport:
    """What is known of the batch axis.

    Attributes:
        kind: `symbolic` (one artifact for any size), `static` (for the sizes asked for), `none`
            (the model has no batch axis), `unknown` (the model does not lower).
        sizes: the static sizes.
        rows_independent: whether each row of the outputs depends on its own row of the inputs
            alone; None where that is not known.
        reason: why there is no symbolic form, or what mixes rows.
        op: the TensorFlow op that mixes rows; empty where none is known.
        node: its node.
        layer: its layer.
    """

    kind: str
    sizes: tuple[int, ...] = ()
    rows_independent: bool | None = None
    reason: str = ""
    op: str = ""
    node: str = ""
    layer: str = ""


@dataclass(frozen=True)
class CheckReport:
    """Whether a model can be compiled.

    Attributes:
        model: its path, or the type of the Python object.
        inputs: name and type of each input.
        outputs: name and type of each output.
        ops: one per node of the graph, then those of its functions.
        batch: what is known of the batch axis.
        refusal: the error that `tfaot compile` ends with; empty where it compiles.
        advice: what to do about a refusal that is no single op's.
        notes: what was decided for the user, as in a compile.
        versions: of TensorFlow and Keras.
    """

    model: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    ops: tuple[OpReport, ...]
    batch: BatchReport
    refusal: str = ""
    advice: str = ""
    notes: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()

    @property
    def compiles(self) -> bool:
        """Whether `tfaot compile` with the same options makes code of it."""
        return not self.refusal and not self.problems

    @property
    def problems(self) -> tuple[OpReport, ...]:
        """The ops that can't be compiled."""
        return tuple(op for op in self.ops if op.problem)

    def groups(self) -> Iterator[tuple[OpReport, ...]]:
        """The ops, those of one kind together: equal in all but their nodes and layers."""
        found: dict[tuple[object, ...], list[OpReport]] = {}
        for op in self.ops:
            opcodes = tuple(sorted({text.split()[0] for text in op.xla_ops}))
            verdict = (op.xla, op.generated, op.problem, op.advice, opcodes)
            found.setdefault((op.op, op.inputs, op.outputs, *verdict), []).append(op)
        for group in found.values():
            yield tuple(group)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        plain = asdict(self)
        for name in ("inputs", "outputs"):
            plain[name] = [{"name": n, "type": t} for n, t in plain[name]]
        for op in plain["ops"]:
            op.update(xla=str(op["xla"]), generated=str(op["generated"]))
        plain["versions"] = dict(self.versions)
        return {"compiles": self.compiles, **plain}
