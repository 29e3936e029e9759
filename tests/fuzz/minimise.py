"""Smaller modules that go wrong in the same way.

Input: a module and a test of what is wrong with it. Output: one in which no output can be left out,
and no op be replaced by an input, without the fault going away.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from module_graph import Built
from module_trial import try_module

from tfaot.ir.attributes import Parameter
from tfaot.ir.module import Instruction, Module, make_computation
from tfaot.ir.shapes import Shape, TupleShape
from tfaot.testing.cases.case import ANY, Limits

SECONDS = 60
"""A trial that takes longer hangs."""


def trial_in_child(built: Built, seed: int, target: str) -> str | None:
    """The problem of a module, found in a process of its own: crashes and hangs are problems."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        problem = try_module(built, seed, target=target, with_xla=False).problem
        os.write(write, (problem or "").encode()[:4000])
        os._exit(0)
    os.close(write)
    ready, _, _ = select.select([read], [], [], SECONDS)
    if not ready:
        os.kill(child, signal.SIGKILL)
    text = os.read(read, 5000).decode() if ready else ""
    os.close(read)
    _, status = os.waitpid(child, 0)
    if not ready:
        return f"hang: longer than {SECONDS} s"
    if os.WIFSIGNALED(status):
        return f"crash: signal {os.WTERMSIG(status)}"
    return text or None


def kind_of(problem: str | None) -> str:
    """What two problems have in common that are one fault: everything before the colon."""
    return (problem or "").partition(":")[0]


def minimise(built: Built, still_wrong: Callable[[Built], bool], seconds: float = 120) -> Built:
    """The smallest module found in that time."""
    until = time.monotonic() + seconds
    progress = True
    while progress:
        progress = False
        for smaller in _candidates(built):
            if time.monotonic() > until:
                return built
            if still_wrong(smaller):
                built, progress = smaller, True
                break
    return built


def _candidates(built: Built) -> Sequence[Built]:
    """Smaller modules, the smallest first."""
    outputs = built.module.outputs
    found: list[Built] = []
    if len(outputs) > 1:
        found += [_rebuilt(built, [o]) for o in outputs]
        found += [_rebuilt(built, [*outputs[:n], *outputs[n + 1 :]]) for n in range(len(outputs))]
    for node in reversed(built.module.entry.instructions):
        if node.opcode not in ("parameter", "constant") and isinstance(node.shape, Shape):
            found.append(_rebuilt(built, outputs, cut=node))
    return found


def _rebuilt(built: Built, outputs: Sequence[Instruction], cut: Instruction | None = None) -> Built:
    """The module of some outputs, with one op replaced by an input."""
    new: dict[int, Instruction] = {}
    limits: dict[int, Limits] = {}
    parameters = built.module.entry.parameters
    for node in built.module.entry.instructions:
        if node is cut:
            made = Instruction(f"{node.name}.cut", "parameter", node.shape, (), Parameter(0))
            limits[id(made)] = ANY
        else:
            made = replace(node, operands=tuple(new[id(o)] for o in node.operands))
            if node.opcode == "parameter":
                limits[id(made)] = built.limits[parameters.index(node)]
        new[id(node)] = made
    results = [new[id(o)] for o in outputs]
    used = [i for i in make_computation("", _root(results)).instructions if id(i) in limits]
    numbered = {id(p): replace(p, attrs=Parameter(n)) for n, p in enumerate(used)}
    final: dict[int, Instruction] = {}
    for node in make_computation("", _root(results)).instructions:
        final[id(node)] = numbered.get(id(node)) or replace(
            node, operands=tuple(final[id(o)] for o in node.operands)
        )
    root = _root([final[id(r)] for r in results])
    entry = make_computation(built.module.entry.name, root, tuple(numbered.values()))
    module = Module(built.module.name, entry, any(not _static(i) for i in entry.instructions))
    return Built(module, tuple(limits[id(p)] for p in used))


def _root(results: Sequence[Instruction]) -> Instruction:
    if len(results) == 1 and results[0].opcode != "parameter":
        return results[0]
    return Instruction(
        "outputs", "tuple", TupleShape(tuple(r.shape for r in results)), tuple(results)
    )


def _static(node: Instruction) -> bool:
    shapes = [node.shape] if isinstance(node.shape, Shape) else list(node.shape)
    return all(not isinstance(s, Shape) or s.is_static for s in shapes)
