"""What the compiler made of a model, for people to look at: the manifest's section `internals`.

The manifest keeps it as plain JSON, which loading a model does not look into; `read_internals`
reads it as strictly as the rest. Polynomials in the rows of one call are tuples of coefficients,
the constant first. Only the standard library is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfaot.errors import ArtifactError

if TYPE_CHECKING:
    from tfaot.packaging.manifest import Manifest

BUFFER_KINDS = ("result", "scratch", "state")


@dataclass(frozen=True)
class KernelPlan:
    """What one kernel of the manifest's `kernels` is made of, and where its data comes from.

    Attributes:
        main: the layer (TensorFlow op name) of what it is built around; where it has none, one of
            its other layers or that of the loop around it; else empty.
        shapes: the shape of each instruction of its `details["opcodes"]`.
        layers: the layer of each of them: a position in the kernel's `layers`, -1 where none.
        reads: the kernels whose results it reads; inputs of the model are -1, -2, ...
        outputs: the outputs of the model that it writes.
        inside: the loops and conditionals that it runs in, the outermost first.
    """

    main: str
    shapes: tuple[str, ...]
    layers: tuple[int, ...]
    reads: tuple[int, ...]
    outputs: tuple[int, ...]
    inside: tuple[str, ...]


@dataclass(frozen=True)
class Buffer:
    """A place in the workspace.

    Attributes:
        kind: of `BUFFER_KINDS`: a kernel's result, what it needs while it runs, a loop's state.
        shape: of the value, empty for scratch.
        offset: its first byte.
        size: its bytes.
        first: the kernel that writes it (a position in the manifest's `kernels`).
        last: the last kernel that reads it.
    """

    kind: str
    shape: str
    offset: tuple[int, ...]
    size: tuple[int, ...]
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """The kernels of one batch size, or of any, and their workspace.

    Attributes:
        batch: the static batch size, None for any.
        tile: rows that run at once where rows are independent, None where all do.
        kernels: the first of its kernels and how many there are.
        workspace: bytes of all buffers.
        buffers: by their first kernel.
    """

    batch: int | None
    tile: int | None
    kernels: tuple[int, ...]
    workspace: tuple[int, ...]
    buffers: tuple[Buffer, ...]


@dataclass(frozen=True)
class Weight:
    """A constant array in the weight blob.

    Attributes:
        layer: the layer (TensorFlow op name) that uses it, empty where it has none.
        kernel: the first kernel that reads it.
        shape: its shape, with its type.
        bytes: what it takes in the blob.
        packed: whether it is stored as panels for register tiles.
    """

    layer: str
    kernel: int
    shape: str
    bytes: int
    packed: bool


@dataclass(frozen=True)
class PassCount:
    """A pass: instructions before and after, and by how many each opcode changed."""

    name: str
    before: int
    after: int
    change: dict[str, int]


@dataclass(frozen=True)
class Folding:
    """Affine steps (`opcode layer`) that went into the weights of the dot of a layer."""

    into: str
    opcode: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Internals:
    """All of it; `passes` and `foldings` are of the first plan, the others' are alike."""

    kernels: tuple[KernelPlan, ...]
    plans: tuple[Plan, ...]
    weights: tuple[Weight, ...]
    passes: tuple[PassCount, ...]
    foldings: tuple[Folding, ...]


def read_internals(manifest: Manifest) -> Internals | None:
    """The section of a manifest; None where it has none.

    Raises:
        ArtifactError: a field is missing, unknown, ill-typed, or does not fit the kernels.
    """
    from tfaot.packaging.manifest import decode

    if manifest.internals is None:
        return None
    found: Internals = decode(Internals, manifest.internals, "internals")
    _check(found, manifest)
    return found


def _check(found: Internals, manifest: Manifest) -> None:
    def demand(condition: bool, where: str, problem: str) -> None:
        if not condition:
            raise ArtifactError(f"field 'internals.{where}' is corrupt: {problem}")

    count = len(manifest.kernels)
    demand(len(found.kernels) == count, "kernels", "not one for each kernel")
    for n, (plan, kernel) in enumerate(zip(found.kernels, manifest.kernels, strict=True)):
        where = f"kernels[{n}]"
        same = len(plan.shapes) == len(plan.layers) == len(kernel.details.get("opcodes", ()))
        demand(same, where, "not one shape and layer for each instruction")
        known = range(-1, len(kernel.layers))
        demand(all(k in known for k in plan.layers), where, "a layer that it does not have")
        sources = range(-len(manifest.inputs), count)
        demand(all(r in sources for r in plan.reads), where, "reads what there is not")
        results = range(len(manifest.outputs))
        demand(all(o in results for o in plan.outputs), where, "writes an output there is not")
    for n, weight in enumerate(found.weights):
        fits = 0 <= weight.kernel < count and weight.bytes >= 0
        demand(fits, f"weights[{n}]", "no weight of a kernel")
    for n, layout in enumerate(found.plans):
        where = f"plans[{n}]"
        demand(len(layout.kernels) == 2, f"{where}.kernels", "not a first one and a number")
        first, many = layout.kernels
        demand(0 <= first <= first + many <= count, f"{where}.kernels", "not those there are")
        for i, buffer in enumerate(layout.buffers):
            fits = first <= buffer.first <= buffer.last < first + many
            demand(
                fits and buffer.kind in BUFFER_KINDS, f"{where}.buffers[{i}]", "no place of a value"
            )
