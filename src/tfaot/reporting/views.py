"""What the sections of a report show, in the units that its templates print.

Input: the manifest's kernels, `Internals`, times. Output: layers with their kernels and ops,
weights by layer, plans with their memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfaot.packaging.internals import Internals, KernelPlan, Plan, Weight
from tfaot.packaging.manifest import Kernel, Manifest
from tfaot.reporting.text import LayerNames, at, byte_text

if TYPE_CHECKING:
    from tfaot.profiling.kernels import KernelProfile, KernelTime

NO_NAME = "(no name)"

MOST_OPS = 4000
"""Ops of all kernels that a page lists."""

MOST_KERNELS = 1000
"""Kernels that a page lists."""

SHOWN_ROWS = 64
"""Rows for which memory that grows with the batch is drawn."""


@dataclass(frozen=True)
class OpView:
    """An XLA op: opcode, shape, the TensorFlow op that it came from."""

    opcode: str
    shape: str
    origin: str


@dataclass(frozen=True)
class KernelView:
    """A kernel.

    Attributes:
        number: its position.
        kind: what it is built around.
        name: its function.
        layer: the layer of what it is built around.
        origin: the TensorFlow op of that.
        others: further layers that are fused into it.
        ops: its instructions, operands first.
        hidden: ops that are not listed, for the page would be too long.
        reads: what it reads: names of inputs, numbers of kernels.
        writes: names of the outputs that it writes.
        inside: the loops that it runs in.
        flops: operations in one call, for one row or a batch.
        bytes_moved: bytes read and written in the same.
        weights_bytes: bytes of weights that it reads.
        batch: the static batch size that it is for, None for any.
        time: what was measured, None where nothing was.
    """

    number: int
    kind: str
    name: str
    layer: str
    origin: str
    others: tuple[str, ...]
    ops: tuple[OpView, ...]
    hidden: int
    inputs: tuple[str, ...]
    kernels: tuple[int, ...]
    writes: tuple[str, ...]
    inside: tuple[str, ...]
    flops: int
    bytes_moved: int
    weights_bytes: int
    batch: int | None
    time: KernelTime | None


@dataclass(frozen=True)
class LayerView:
    """A layer: its kernels, and sums over them; `weights` is None where they aren't known."""

    name: str
    kernels: tuple[KernelView, ...]
    ops: int
    flops: int
    share: float
    weights: int
    seconds: float


@dataclass(frozen=True)
class WeightView:
    """Weights of a layer: their bytes, their share of all, the arrays."""

    layer: str
    bytes: int
    share: float
    arrays: tuple[Weight, ...]


@dataclass(frozen=True)
class PlanView:
    """Memory of one plan: its buffers for `rows` rows, all bytes, the most that lives at once."""

    plan: Plan
    rows: int | None
    total: int
    alive: int
    busiest: int


def layer_names(manifest: Manifest, internals: Internals | None) -> LayerNames:
    """How the ops of this artifact are named on the page."""
    if internals is None:
        return LayerNames(k.layers[0] for k in manifest.kernels if k.layers)
    return LayerNames(p.main for p in internals.kernels)


def kernel_views(
    manifest: Manifest, internals: Internals | None, profile: KernelProfile | None
) -> list[KernelView]:
    """All kernels, in their order."""
    names = layer_names(manifest, internals)
    times = {k.number: k for k in profile.kernels} if profile is not None else {}
    limit = max(6, MOST_OPS // max(len(manifest.kernels), 1))
    views = []
    for number, kernel in enumerate(manifest.kernels[:MOST_KERNELS]):
        plan = internals.kernels[number] if internals is not None else None
        views.append(_kernel(number, kernel, plan, manifest, names, times.get(number), limit))
    return views


def _kernel(
    number: int,
    kernel: Kernel,
    plan: KernelPlan | None,
    manifest: Manifest,
    names: LayerNames,
    time: KernelTime | None,
    limit: int,
) -> KernelView:
    details = kernel.details
    main = plan.main if plan is not None else next(iter(kernel.layers), "")
    layer = names.layer(main)
    others = dict.fromkeys(names.layer(op) for op in kernel.layers)
    batch = details.get("batch")
    ops = _ops(kernel, plan, names)
    reads = plan.reads if plan is not None else ()
    return KernelView(
        number=number,
        kind=kernel.kind,
        name=kernel.name,
        layer=layer or NO_NAME,
        origin=names.short(main),
        others=tuple(o for o in others if o and o != layer),
        ops=ops[:limit],
        hidden=max(0, len(ops) - limit),
        inputs=tuple(manifest.inputs[-1 - r].name for r in reversed(reads) if r < 0),
        kernels=tuple(r for r in reads if r >= 0),
        writes=tuple(manifest.outputs[o].name for o in plan.outputs) if plan is not None else (),
        inside=tuple(map(names.short, plan.inside)) if plan is not None else (),
        flops=_work(details, "flops"),
        bytes_moved=_work(details, "read_bytes") + _work(details, "written_bytes"),
        weights_bytes=int(details.get("weights_bytes", 0)),
        batch=batch if isinstance(batch, int) else None,
        time=time,
    )


def _work(details: dict[str, Any], key: str) -> int:
    return at(details.get(key, ()), int(details.get("batch", 1)))


def _ops(kernel: Kernel, plan: KernelPlan | None, names: LayerNames) -> tuple[OpView, ...]:
    opcodes = [str(o) for o in kernel.details.get("opcodes", ())]
    if plan is None:
        return tuple(OpView(o, "", "") for o in opcodes)
    return tuple(
        OpView(o, shape, names.short(kernel.layers[n]) if n >= 0 else "")
        for o, shape, n in zip(opcodes, plan.shapes, plan.layers, strict=True)
    )


def layer_views(
    kernels: Sequence[KernelView], weights: Sequence[WeightView]
) -> tuple[LayerView, ...]:
    """Layers in the order of their first kernels."""
    found: dict[str, list[KernelView]] = {}
    for kernel in kernels:
        found.setdefault(kernel.layer, []).append(kernel)
    by_layer = {w.layer: w.bytes for w in weights}
    total = sum(k.flops for k in kernels) or 1
    return tuple(
        LayerView(
            name=name,
            kernels=tuple(own),
            ops=sum(len(k.ops) + k.hidden for k in own),
            flops=sum(k.flops for k in own),
            share=sum(k.flops for k in own) / total,
            weights=by_layer.get(name, 0),
            seconds=sum(k.time.seconds for k in own if k.time is not None),
        )
        for name, own in found.items()
    )


def weight_views(
    internals: Internals | None, names: LayerNames, total: int
) -> tuple[WeightView, ...]:
    """Weights by layer, the largest first; `total` is the blob's size in bytes."""
    found: dict[str, list[Weight]] = {}
    for weight in internals.weights if internals is not None else ():
        found.setdefault(names.layer(weight.layer) or NO_NAME, []).append(weight)
    views = [
        WeightView(layer, size, size / max(total, 1), tuple(own))
        for layer, own in found.items()
        for size in [sum(w.bytes for w in own)]
    ]
    return tuple(sorted(views, key=lambda v: -v.bytes))


def plan_view(plan: Plan) -> PlanView:
    """The memory of a plan."""
    parts = [plan.workspace, *(p for b in plan.buffers for p in (b.offset, b.size))]
    rows = SHOWN_ROWS if any(len(p) > 1 for p in parts) else None
    first, count = plan.kernels
    alive = [0] * (count + 1)
    for buffer in plan.buffers:
        if buffer.kind == "state" and not buffer.size:
            continue
        alive[buffer.first - first] += at(buffer.size, rows or 0)
        alive[buffer.last - first + 1] -= at(buffer.size, rows or 0)
    most, busiest, running = 0, 0, 0
    for number in range(count):
        running += alive[number]
        if running > most:
            most, busiest = running, number
    return PlanView(plan, rows, at(plan.workspace, rows or 0), most, first + busiest)


def buffer_title(kind: str, shape: str, size: int, offset: int, first: int, last: int) -> str:
    """A buffer in words."""
    what = {"result": f"result {shape}", "scratch": "scratch", "state": f"loop state {shape}"}[kind]
    when = f"kernel {first}" if first == last else f"kernels {first} to {last}"
    return f"{what}: {byte_text(size)} from byte {offset} on, {when}"
