"""What a manifest says of weights in a file of their own.

The file's digest is not part of it: a retrained model replaces the file alone. What decides whether
a file fits is the hash of the structure, which file, object and manifest all hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = Any  # None, bool, int, float, str, lists and dicts of them


@dataclass(frozen=True)
class Recipe:
    """How the model was compiled, so that another of its structure can be read in the same way.

    Attributes:
        inputs: nodes that are the inputs of a frozen graph, empty where they were found.
        outputs: nodes that are its outputs, likewise.
        input_shapes: dimensions by input, None for the batch axis.
        set_values: values of placeholders that are fixed.
        custom_objects: `module:name` of Keras custom objects.
        batch_sizes: the sizes asked for.
        static: whether they were wanted even where any size is possible.
        timers: whether kernels are timed.
        xla_flags: flags added to XLA_FLAGS.
        tf_xla_flags: flags added to TF_XLA_FLAGS.
        targets: the instruction sets, as `codegen.target.Target` describes them.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    input_shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    set_values: dict[str, Json] = field(default_factory=dict)
    custom_objects: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    static: bool = False
    timers: bool = False
    xla_flags: tuple[str, ...] = ()
    tf_xla_flags: tuple[str, ...] = ()
    targets: tuple[dict[str, Json], ...] = ()


@dataclass(frozen=True)
class ExternalWeights:
    """The file of the weights.

    Attributes:
        file: its name, beside the manifest.
        bytes: its length.
        structure: hash in hex of all that it must fit.
        recipe: how the model was compiled.
    """

    file: str
    bytes: int
    structure: str
    recipe: Recipe = Recipe()
