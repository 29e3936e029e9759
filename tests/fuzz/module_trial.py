"""One module tried everywhere: interpreter, compiled code at several levels, XLA.

Input: a module and the seed of its inputs. Output: an `Outcome`: what was compared, what is wrong.

Compiled code must agree with the interpreter at every batch size, between guard pages and canaries,
as it was read from the text that the module prints as. The levels with FMA must give the same bits.
Where rows are independent, a row's bits must not depend on the batch size or on its position.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xla_reference
from compiled import CompiledModule, compile_module
from guard_pages import run_between_guard_pages
from module_graph import Built
from module_oracle import Engine, compiled_engine, judge
from numpy.typing import NDArray

from tfaot.errors import TfaotError
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Module
from tfaot.ir.printer import print_module
from tfaot.ir.shapes import BatchDim, Dim
from tfaot.ir.text import parse_module
from tfaot.ir.verifier import verify

Array = NDArray[Any]

BATCHES = (0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65)
FUSED, LOWEST = (3, 4), 2
PAIR = "x86-64-v3,x86-64-v4"
ALL_LEVELS = "portable"


@dataclass
class Outcome:
    """What trying a module gave.

    Attributes:
        problem: `kind: what` of the first thing that is wrong; None where all is well.
        calls: runs of compiled code.
        compared: elements compared with the interpreter.
        skipped: elements of which nothing could be said.
        xla: `agrees`, `skipped` (nothing could be said), or why it was not asked.
        xla_compared: elements compared with XLA.
    """

    problem: str | None = None
    calls: int = 0
    compared: int = 0
    skipped: int = 0
    xla: str = "not asked"
    xla_compared: int = 0
    batches: list[int] = field(default_factory=list)


class _WrongError(Exception):
    """Something is wrong with the module under trial."""


def choose_batches(seed: int) -> tuple[int, ...]:
    """Four batch sizes: none, one, and two around the vector width."""
    generator = np.random.default_rng([seed, 3])
    more = generator.choice(BATCHES[2:], 2, replace=False)
    return tuple(sorted({0, 1, *(int(n) for n in more)}))


def try_module(
    built: Built, seed: int = 0, *, target: str = PAIR, with_xla: bool = True
) -> Outcome:
    """Try one module; an `Outcome` with a problem where anything is wrong."""
    outcome = Outcome()
    try:
        _try(built, seed, target, with_xla, outcome)
    except _WrongError as error:
        outcome.problem = str(error)
    except AssertionError as error:
        outcome.problem = f"assertion: {_line(error)}"
    except TfaotError as error:
        outcome.problem = f"refused: {_line(error)}"
    except Exception as error:  # whatever a bug raises is what this looks for
        outcome.problem = f"{type(error).__name__}: {_line(error)}"
    return outcome


def _try(built: Built, seed: int, target: str, with_xla: bool, outcome: Outcome) -> None:
    module = built.module
    verify(module)
    parsed = parse_module(print_module(module))
    run = compile_module(parsed, target)
    symbolic = module.batch
    outcome.batches = list(choose_batches(seed)) if symbolic else [1]
    largest = max(outcome.batches)
    whole = built.inputs(largest, seed)
    levels = [lv for lv in (LOWEST, *FUSED) if _set_level(run, lv) == lv]
    apart = symbolic and run.compiled.manifest.batch.rows_independent and _rows_lead(module)
    reference: list[Array] | None = None
    for batch in sorted(outcome.batches, reverse=True):
        inputs = _first_rows(module, whole, batch) if apart else built.inputs(batch, seed)
        _try_batch(module, run, inputs, batch, levels, outcome)
        if not apart:
            continue
        _set_level(run, FUSED[-1])
        found = run(inputs, batch)
        if reference is None:
            reference = found
        for rows, first in ((batch, True), (batch, False)):
            part = inputs if first else _rows(module.entry.parameters, whole, largest, batch)
            outputs = found if first else run(part, batch)
            wanted = _rows(module.outputs, reference, largest, batch, first=first)
            _same_bits(outputs, wanted, f"{rows} rows of {largest}, {'first' if first else 'last'}")
            outcome.calls += 1
    if with_xla:
        _try_xla(
            module,
            whole if apart else built.inputs(min(5, largest), seed),
            outcome,
            largest if apart else min(5, largest),
        )


def _try_batch(
    module: Module,
    run: CompiledModule,
    inputs: Sequence[Array],
    batch: int,
    levels: Sequence[int],
    outcome: Outcome,
) -> None:
    fused: list[Array] | None = None
    for level in levels:
        _set_level(run, level)
        outputs = run(inputs, batch)
        outcome.calls += 1
        where = f"x86-64-v{level}, batch {batch}"
        if level == LOWEST or fused is None:
            _judge(
                module, inputs, outputs, batch, compiled_engine(has_fma=level > 2), where, outcome
            )
        if level == LOWEST:
            continue
        if fused is None:
            fused = outputs
        else:
            _same_bits(outputs, fused, f"{where} against x86-64-v{FUSED[0]}")
        between = run_between_guard_pages(run, inputs, batch, at_end=level == FUSED[0])
        outcome.calls += 1
        _same_bits(between, outputs, f"{where}, between guard pages")


def _judge(
    module: Module,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    batch: int,
    engine: Engine,
    where: str,
    outcome: Outcome,
) -> None:
    verdict = judge(module, inputs, outputs, batch, engine)
    outcome.compared += verdict.compared
    outcome.skipped += verdict.skipped
    if verdict.problems:
        raise _WrongError(f"values: {where}: {verdict.problems[0]}")


def _try_xla(module: Module, inputs: Sequence[Array], outcome: Outcome, batch: int) -> None:
    reason = xla_reference.available()
    if reason is not None:
        outcome.xla = reason
        return
    inputs = [_without_denormals(x) for x in inputs]
    try:
        outputs = xla_reference.run_xla(module, inputs, batch)
    except xla_reference.RefusedError as error:
        outcome.xla = f"refused: {error}"
        return
    verdict = judge(module, inputs, outputs, batch, xla_reference.ENGINE)
    outcome.xla_compared = verdict.compared
    outcome.xla = "agrees" if verdict.compared else "skipped"
    if verdict.problems:
        outcome.xla = "differs"
        raise _WrongError(f"xla: batch {batch}: {verdict.problems[0]}")


def _without_denormals(x: Array) -> Array:
    """XLA:CPU takes them for zero in some ops and not in others."""
    dtype = DType.from_numpy(x.dtype)
    if dtype.is_complex:
        made = np.empty_like(x)
        made.real, made.imag = _without_denormals(x.real), _without_denormals(x.imag)
        return made
    if not dtype.is_float:
        return x
    tiny = {DType.F16: 2.0**-14, DType.F64: 2.0**-1022}.get(dtype, 2.0**-126)
    wide = np.abs(x.astype(np.float64))
    return np.asarray(np.where((wide < tiny) & (wide > 0), np.zeros_like(x), x))


def _same_bits(found: Sequence[Array], wanted: Sequence[Array], where: str) -> None:
    for number, (a, b) in enumerate(zip(found, wanted, strict=True)):
        if a.tobytes() == b.tobytes():
            continue
        x, y = _bits(a), _bits(b)
        if x.shape == y.shape and (x == y).all():
            continue
        place = np.argwhere(x != y)[0].tolist() if x.shape == y.shape else x.shape
        raise _WrongError(f"bits: {where}: output {number} differs at {place}")


def _bits(x: Array) -> Array:
    """The elements as integers, all NaNs alike: their bits are not specified."""
    dtype = DType.from_numpy(x.dtype)
    if dtype.is_complex:
        return np.stack([_bits(x.real), _bits(x.imag)])
    if not dtype.is_float:
        return x
    kind = np.dtype(f"u{x.dtype.itemsize}")
    bits = np.ascontiguousarray(x).view(kind).reshape(x.shape)
    return np.where(np.isnan(x.astype(np.float64)), kind.type(~kind.type(0)), bits)


def _set_level(run: CompiledModule, level: int) -> int:
    """Use no instruction set above `level`; the one that is used."""
    symbol = run.compiled.manifest.symbols.set_max_isa
    if symbol is None:
        return int(run.compiled.manifest.target.cpus[0].rpartition("v")[2] or 0)
    pin = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(run.loaded.address(symbol))
    pin(level)
    return int(pin(-1))


def _rows_lead(module: Module) -> bool:
    return all(
        not any(isinstance(d, BatchDim) for d in dims[1:])
        and (not dims or isinstance(dims[0], int) or dims[0].offset == 0)
        for dims in (v.array.dims for v in (*module.entry.parameters, *module.outputs))
    )


def _first_rows(module: Module, whole: Sequence[Array], batch: int) -> list[Array]:
    return [
        x[: p.array.dims[0].at(batch)] if _leads(p.array.dims) else x  # type: ignore[union-attr]
        for p, x in zip(module.entry.parameters, whole, strict=True)
    ]


def _rows(
    nodes: Sequence[Any], arrays: Sequence[Array], whole: int, batch: int, *, first: bool = False
) -> list[Array]:
    """The first or the last rows of arrays of `whole` rows."""
    found = []
    for node, x in zip(nodes, arrays, strict=True):
        dims = node.array.dims
        if _leads(dims):
            size = dims[0].at(batch)
            x = x[:size] if first else x[dims[0].at(whole) - size :]
        found.append(x)
    return found


def _leads(dims: Sequence[Dim]) -> bool:
    return bool(dims) and isinstance(dims[0], BatchDim)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
