"""What the worker tells of a graph, op by op: a survey, and attempts to lower parts of it."""

from __future__ import annotations

from dataclasses import dataclass

from tfaot.frontend.model_description import Description


@dataclass(frozen=True)
class SurveyedNode:
    """An op of the graph or of one of its functions.

    Attributes:
        name: the node's name, with its scopes.
        op: the TensorFlow op.
        function: the library function that holds it; empty in the graph itself.
        caller: the node of the graph that calls the function; the node itself in the graph.
        inputs: types of its operands (`float32[n,8]`); n is the batch size, ? unknown.
        outputs: types of its results.
        known: whether this TensorFlow has such an op.
        kernel: whether XLA has a kernel for the op with these types.
        other_types: the types for which it has one, where it has none for these.
        refused: why tfaot refuses the op in any model; empty for all others.
    """

    name: str
    op: str
    function: str
    caller: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    known: bool
    kernel: bool
    other_types: tuple[str, ...]
    refused: str


@dataclass(frozen=True)
class SurveyReply:
    """A model's ops.

    Attributes:
        number: stands for the survey in later calls.
        nodes: in the order of the graph, those of functions after it.
        layers: classes of a Keras model's layers by their names.
        inputs: name and type of each input.
        outputs: name and type of each output.
        versions: of TensorFlow and Keras.
        refusal: why the model can't be loaded for a compile; empty where it can.
        model: number and description of the loaded model, where it can.
    """

    number: int
    nodes: tuple[SurveyedNode, ...]
    layers: dict[str, str]
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    versions: dict[str, str]
    refusal: str
    model: tuple[int, Description] | None


@dataclass(frozen=True)
class Attempt:
    """A lowering of the part of a graph that is left when some nodes are cut out.

    Attributes:
        hlo: serialized, after XLA's passes; None where XLA refuses it or nothing is left.
        lowered: the nodes of the graph that were part of it.
        culprit: the node that XLA names where it refuses, with its function; empty names where it
            names none.
        message: XLA's reason, in one line.
    """

    hlo: bytes | None
    lowered: tuple[str, ...] = ()
    culprit: tuple[str, str] = ("", "")
    message: str = ""
