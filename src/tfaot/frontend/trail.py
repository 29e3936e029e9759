"""How far the loading of a model came: what `tfaot check` looks at where a model is refused."""

from __future__ import annotations

from dataclasses import dataclass, field

from tfaot.frontend.graph import FrozenGraph


@dataclass
class Trail:
    """Filled in while a model is loaded.

    Attributes:
        keep: whether graphs are kept: they hold the weights, which most loads let go at once.
        graph: the model's graph after the last step that succeeded; None before the first. It may
            hold what no compiled model can: resources among its inputs, reads of variables.
        layers: classes of the Keras model's layers by their names, where it is one.
    """

    keep: bool = False
    graph: FrozenGraph | None = None
    layers: dict[str, str] = field(default_factory=dict)

    def reached(self, graph: FrozenGraph) -> FrozenGraph:
        """Take note of a step's result, which is returned."""
        if self.keep:
            self.graph = graph
        return graph
