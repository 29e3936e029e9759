"""The page: everything that a report shows, as one HTML text.

Input: `Facts`. Output: HTML with its styles, script and charts inside; it asks no server for
anything. What comes from the model (names, descriptions) is escaped wherever it appears.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

from tfaot.packaging.internals import Folding, Internals
from tfaot.packaging.manifest import Manifest
from tfaot.reporting import text, views
from tfaot.reporting.collect import Facts
from tfaot.reporting.snippets import snippets
from tfaot.reporting.svg import (
    Chart,
    Node,
    Point,
    Span,
    flow_chart,
    line_chart,
    memory_map,
)

if TYPE_CHECKING:
    import jinja2

MOST_IN_FLOW = 400
"""Kernels beyond which the picture of who reads whom is left out."""


def render(facts: Facts) -> str:
    """The report as HTML."""
    manifest, internals = facts.manifest, facts.internals
    names = views.layer_names(manifest, internals)
    kernels = views.kernel_views(manifest, internals, facts.kernels)
    weights = views.weight_views(internals, names, manifest.weights_bytes)
    plans = [views.plan_view(p) for p in internals.plans] if internals is not None else []
    own_time = sum(k.seconds for k in facts.kernels.kernels) if facts.kernels else 0.0
    environment = _environment()
    return environment.get_template("page.html.j2").render(
        facts=facts,
        manifest=manifest,
        internals=internals,
        sizes=_sizes(manifest),
        snippets=snippets(manifest),
        kernels=kernels,
        more_kernels=len(manifest.kernels) - len(kernels),
        layers=views.layer_views(kernels, weights),
        weights=weights,
        foldings=_foldings(internals, names) if internals is not None else (),
        plans=[(p, _memory_chart(n, p)) for n, p in enumerate(plans)],
        flow=_flow(manifest, kernels) if internals is not None else None,
        profile=facts.kernels,
        kernel_seconds=own_time or 1.0,
        charts=_time_charts(facts),
        verification=manifest.verification,
        style=_read("style.css"),
        script=_read("script.js"),
    )


def _read(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text("utf-8")


def _environment() -> jinja2.Environment:
    import jinja2

    files = ("page.html.j2", "charts.svg.j2", "model.html.j2", "measured.html.j2")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.DictLoader({name: _read(name) for name in files}),
    )
    filters: dict[str, Any] = {
        "bytes": text.byte_text,
        "big": text.count_text,
        "seconds": text.second_text,
        "percent": text.percent_text,
        "polynomial": text.polynomial_text,
        "tensor": text.tensor_text,
        "coordinate": lambda v: f"{v:.1f}".removesuffix(".0"),
        "figure": lambda v: f"{v:.9g}" if isinstance(v, float) else str(v),
    }
    environment.filters.update(filters)
    environment.globals.update(at=text.at, buffer_title=views.buffer_title)
    return environment


def _sizes(manifest: Manifest) -> list[tuple[str, str, str]]:
    """Name, size and remark of what the artifact takes in memory."""
    workspace = manifest.workspace.bytes
    stack = manifest.stack_bytes
    parameters = manifest.parameter_bytes
    ratio = (
        f"{manifest.weights_bytes / parameters:.3f} of the parameters' bytes" if parameters else ""
    )
    if workspace is not None:
        scratch = (text.byte_text(workspace), "per call, whatever the batch")
    else:
        scratch = (
            "grows",
            f"{text.polynomial_text(manifest.workspace.coefficients)} bytes for n rows",
        )
    if manifest.weights is not None:
        ratio = f"in {manifest.weights.file}" + (f", {ratio}" if ratio else "")
    return [
        ("Weights", text.byte_text(manifest.weights_bytes), ratio),
        ("Workspace", *scratch),
        ("Code", text.byte_text(manifest.code_bytes), "for all instruction sets"),
        ("Stack", "unknown" if stack is None else text.byte_text(stack), "of a call, at most"),
    ]


def _foldings(internals: Internals, names: text.LayerNames) -> list[Folding]:
    """Foldings with the names of ops shortened."""

    def step(folded: str) -> str:
        opcode, _, op = folded.partition(" ")
        return f"{opcode} {names.short(op)}".rstrip()

    return [
        Folding(names.short(f.into), f.opcode, (*map(step, f.before),), (*map(step, f.after),))
        for f in internals.foldings
    ]


def _memory_chart(number: int, view: views.PlanView) -> Chart:
    plan, rows = view.plan, view.rows or 0
    first, count = plan.kernels
    spans = []
    for buffer in plan.buffers:
        offset, size = text.at(buffer.offset, rows), text.at(buffer.size, rows)
        label = buffer.shape or buffer.kind
        title = views.buffer_title(
            buffer.kind, buffer.shape, size, offset, buffer.first, buffer.last
        )
        spans.append(Span(offset, size, buffer.first - first, buffer.last - first, label, title))
    alt = (
        f"Memory map: {len(spans)} buffers in {text.byte_text(view.total)} of workspace over "
        f"{count} kernels; the table below lists them."
    )
    return memory_map(f"memory{number}", alt, spans, view.total, count)


def _flow(manifest: Manifest, kernels: list[views.KernelView]) -> Chart | None:
    """Inputs, kernels and outputs of the first plan, one row each."""
    shown = [k for k in kernels if k.batch == kernels[0].batch]
    if not shown or len(shown) > MOST_IN_FLOW:
        return None
    nodes = [Node(f"input {t.name}", f"input {t.name}", (), colour=1) for t in manifest.inputs]
    rows = {t.name: n for n, t in enumerate(manifest.inputs)}
    writers: dict[str, list[int]] = {}
    at = {}
    for kernel in shown:
        at[kernel.number] = len(nodes)
        reads = [rows[name] for name in kernel.inputs]
        # A loop's kernel may read what a later one wrote in the step before: no row above it.
        reads += [at[k] for k in kernel.kernels if k in at and k < kernel.number]
        for name in kernel.writes:
            writers.setdefault(name, []).append(len(nodes))
        label = f"{kernel.number}  {kernel.kind}  {kernel.origin or kernel.layer}"
        title, link = f"kernel {kernel.number}", f"#kernel-{kernel.number}"
        nodes.append(Node(label, title, tuple(reads), link))
    for tensor in manifest.outputs:
        reads = writers.get(tensor.name, [])
        label = f"output {tensor.name}"
        nodes.append(Node(label, label, tuple(reads), colour=2))
    alt = (
        f"Data flow from {len(manifest.inputs)} inputs through {len(shown)} kernels to "
        f"{len(manifest.outputs)} outputs; each kernel below lists what it reads."
    )
    return flow_chart("flow", alt, nodes)


def _time_charts(facts: Facts) -> list[tuple[str, Chart]]:
    """Time per call and per row over batch size; nothing for a single point."""
    if len(facts.times) < 2:
        return []
    found = []
    for title, name, per_row in (("Per call", "call", False), ("Per row", "row", True)):
        points = []
        for t in facts.times:
            rows = t.batch if per_row else 1
            y, low, high = t.median / rows, t.low / rows, t.high / rows
            label = f"{t.batch} rows: {text.second_text(y)}"
            points.append(Point(t.batch, y, low, high, label))
        alt = (
            f"{title}: from {text.second_text(points[0].y)} at batch {facts.times[0].batch} to "
            f"{text.second_text(points[-1].y)} at batch {facts.times[-1].batch}; the table has all."
        )
        chart = line_chart(f"time-{name}", alt, points, "batch size", text.second_text)
        found.append((title, chart))
    return found
