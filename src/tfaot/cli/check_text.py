"""A check's report for people: a table with colours on a terminal, aligned lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from tfaot.checker.report import Answer, BatchReport, CheckReport, OpReport
from tfaot.checker.table import SupportTable

_PLUMBING = frozenset({"Const", "Identity", "IdentityN", "NoOp", "Placeholder"})
"""Ops that compute nothing: listed with --all."""

_SHOWN = 4
"""XLA ops of a row that stands for several nodes."""

_LEGEND = {
    "-": "nothing is left of it: computed when the model is compiled, or part of another op",
    "?": "not known, for it depends on what can't be compiled",
}

Row = tuple[str, ...]


def print_report(report: CheckReport, *, every: bool) -> None:
    """Print a report.

    Args:
        report: the report.
        every: a row per node, with its name; else one per kind of op, types and outcome.
    """
    for line in _head(report):
        _line(line)
    _line("")
    if every:
        columns = ("", "op", "types", "node", "layer", "XLA ops")
        rows: list[Row] = [
            (_mark(op), op.op, _types(op), _node(op), op.layer, _became(op, len(op.xla_ops)))
            for op in report.ops
        ]
    else:
        columns = ("", "ops", "op", "types", "layer", "XLA ops")
        groups = [g for g in report.groups() if g[0].problem or g[0].op not in _PLUMBING]
        rows = [
            (_mark(g[0]), str(len(g)), g[0].op, _types(g[0], 3), _layers(g), _became(g[0], _SHOWN))
            for g in groups
        ]
    _table(columns, rows)
    marks = {row[0] for row in rows} | {row[-1] for row in rows}
    for mark, meaning in _LEGEND.items():
        if mark in marks:
            _line(f"{mark:<3} {meaning}")
    for line in _foot(report):
        _line(line)


def print_support(table: SupportTable) -> None:
    """Print every op that works."""
    working = [op for op in table.tensorflow if not op.refused]
    _line(f"{len(working)} ops of TensorFlow {table.version} that XLA has a kernel for, with types")
    _line("")
    rows: list[Row] = [
        (op.name, "; ".join(f"{name}: {', '.join(types)}" for name, types in op.types if types))
        for op in working
    ]
    _table(("TensorFlow op", "types"), rows)
    refused = [op for op in table.tensorflow if op.refused]
    _line("")
    _line(f"{len(refused)} more have a kernel and are refused all the same")
    _line("")
    _table(("TensorFlow op", "why"), [(op.name, op.refused) for op in refused])
    _line("")
    _line("XLA ops that code is generated for, by type")
    _line("")
    rows = [
        (op, ", ".join(str(t) for t, good in types.items() if good))
        for op, types in table.xla.items()
        if any(types.values())
    ]
    _table(("XLA op", "types"), rows)


def support_json(table: SupportTable) -> dict[str, object]:
    """The table of what works as plain data."""
    return {
        "tensorflow_version": table.version,
        "tensorflow": {
            op.name: {"types": {n: list(t) for n, t in op.types}, "refused": op.refused}
            for op in table.tensorflow
        },
        "xla": {
            op: [str(t) for t, good in types.items() if good] for op, types in table.xla.items()
        },
    }


def _head(report: CheckReport) -> Iterable[str]:
    yield f"model        {report.model}"
    for side, tensors in (("input", report.inputs), ("output", report.outputs)):
        for name, text in tensors:
            yield f"{side:<12} {name} {text}"
    yield f"batch        {_batch(report.batch)}"
    hidden = sum(op.op in _PLUMBING for op in report.ops)
    yield f"ops          {len(report.ops)}, {hidden} of them constants and the like"


def _foot(report: CheckReport) -> Iterable[str]:
    groups = [group for group in report.groups() if group[0].problem]
    for group in groups:
        op = group[0]
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        yield ""
        yield f"{op.op}: {op.problem}"
        yield f"  node     {_node(op)}{more}"
        if op.layer:
            yield f"  layer    {_layers(group)}"
        if op.inputs or op.outputs:
            yield f"  types    {_types(op)}"
        yield f"  to do    {op.advice}"
    yield ""
    if report.compiles:
        yield "can be compiled"
        return
    count = sum(len(group) for group in groups)
    what = f": {count} op{'s' * (count != 1)} to change" if groups else ""
    yield f"can't be compiled{what}"
    if report.refusal and not groups:
        yield f"  because  {report.refusal}"
    if report.advice:
        yield f"  to do    {report.advice}"


def _batch(batch: BatchReport) -> str:
    if batch.kind == "none":
        return "none"
    if batch.kind == "unknown":
        return "not known, as the model can't be lowered"
    sizes = f" {', '.join(map(str, batch.sizes))}" if batch.sizes else ""
    if batch.rows_independent is None:
        return f"{batch.kind}{sizes}"
    if batch.rows_independent:
        reason = f" ({batch.reason})" if batch.reason else ""
        return f"{batch.kind}{sizes}, rows independent{reason}"
    where = f"{batch.op} '{batch.node}': " if batch.node else ""
    return f"{batch.kind}{sizes}, rows depend on each other ({where}{batch.reason})"


def _mark(op: OpReport) -> str:
    if op.problem:
        return "no"
    return "?" if Answer.UNKNOWN in (op.xla, op.generated) else "ok"


def _types(op: OpReport, shown: int = 1000) -> str:
    taken, given = (
        ", ".join(side[:shown]) + (f" +{len(side) - shown}" if len(side) > shown else "")
        for side in (op.inputs, op.outputs)
    )
    return f"{taken} -> {given}" if op.inputs else given


def _node(op: OpReport) -> str:
    return f"{op.node} in {op.function}" if op.function else op.node


def _layers(group: Sequence[OpReport]) -> str:
    layers = list(dict.fromkeys(op.layer for op in group if op.layer))
    more = f" and {len(layers) - 2} more" if len(layers) > 2 else ""
    return ", ".join(layers[:2]) + more


def _became(op: OpReport, shown: int) -> str:
    if op.generated is Answer.NOTHING_LEFT:
        return "-"
    opcodes = list(dict.fromkeys(text.split()[0] for text in op.xla_ops))
    more = f" +{len(opcodes) - shown}" if len(opcodes) > shown else ""
    return " ".join(opcodes[:shown]) + more


def _line(text: str) -> None:
    print(text.rstrip())


def _table(columns: Row, rows: Sequence[Row]) -> None:
    """Rows under their columns' names: as wide as they are in a pipe, folded on a terminal."""
    if sys.stdout.isatty():
        _rich_table(columns, rows)
        return
    *firsts, _ = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, firsts, strict=False)]
        _line("  ".join([*cells, row[-1]]))


def _rich_table(columns: Row, rows: Sequence[Row]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold", justify="right" if name == "ops" else "left")
    styles = {"no": "bold red", "?": "yellow", "ok": "green"}
    for row in rows:
        # Names of layers may hold brackets, which are no markup.
        cells = [Text(cell, styles.get(cell, "") if n == 0 else "") for n, cell in enumerate(row)]
        table.add_row(*cells, style="" if row[-1] != "-" else "dim")
    Console().print(table)
