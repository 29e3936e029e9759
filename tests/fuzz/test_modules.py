"""Random modules over all ops: interpreter, XLA and compiled code agree; so do old faults."""

import json
from pathlib import Path

import campaign
import pytest
import regressions
import xla_reference
from campaign import contents, target_of
from hypothesis import HealthCheck, given, settings
from module_graph import RandomModule, random_modules
from module_trial import PAIR, try_module

from tfaot.ir.dtypes import DType
from tfaot.ir.opcodes import OPCODES
from tfaot.ir.verifier import verify

_CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
FAST = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=_CHECKS)
SLOW = settings(max_examples=1000, deadline=None, suppress_health_check=_CHECKS)

NEVER_MADE: dict[str, str] = {}
"""Opcodes that the generator never makes, and why it need not."""


def _check(module: RandomModule, *, with_xla: bool = False) -> None:
    outcome = try_module(module.build(), module.seed, target=PAIR, with_xla=with_xla)
    assert outcome.problem is None, f"{module}: {outcome.problem}"


@FAST
@given(random_modules())
def test_random_modules(module):
    _check(module)


@pytest.mark.slow
@SLOW
@given(random_modules())
def test_many_random_modules(module):
    _check(module)


@pytest.mark.skipif(bool(xla_reference.available()), reason=str(xla_reference.available()))
@FAST
@given(random_modules())
def test_random_modules_and_xla(module):
    _check(module, with_xla=True)


@pytest.mark.parametrize("name", regressions.names())
def test_modules_that_once_went_wrong(name):
    case = regressions.load(name)
    outcome = try_module(case.built, case.seed, target=case.target, with_xla=False)
    assert outcome.problem is None, outcome.problem


def test_every_opcode_and_type_is_made():
    """Of those that the reader accepts, none is left out."""
    opcodes, types = set(), set()
    for number in range(900):
        module = RandomModule.numbered(number).build().module
        if number % 30 == 0:
            verify(module)
        found = contents(module)
        opcodes |= set(found[0])
        types |= set(found[1])
    assert set(OPCODES) - opcodes == set(NEVER_MADE)
    assert types == {str(t) for t in DType}


def test_a_module_is_made_of_its_number_alone():
    one, other = (RandomModule.numbered(17).build() for _ in range(2))
    assert contents(one.module) == contents(other.module)
    assert all(
        a.tobytes() == b.tobytes() for a, b in zip(one.inputs(5), other.inputs(5), strict=True)
    )


def test_a_wrong_result_is_found_and_minimised(monkeypatch):
    """The judge sees one wrong bit; what is left of the module is the op that made it."""
    import minimise
    import module_trial
    from compiled import CompiledModule

    run = CompiledModule.__call__

    def wrong(self, inputs, batch=None):
        outputs = run(self, inputs, batch)
        for node, value in zip(self.module.outputs, outputs, strict=True):
            if node.opcode == "multiply" and value.dtype.kind == "i" and value.size:
                value.flat[-1] ^= 1
        return outputs

    monkeypatch.setattr(CompiledModule, "__call__", wrong)
    monkeypatch.setattr(module_trial, "run_between_guard_pages", lambda r, i, b, at_end: r(i, b))
    for number in range(500):
        built = RandomModule.numbered(number).build()
        if any(o.opcode == "multiply" and o.array.dtype.is_signed for o in built.module.outputs):
            outcome = try_module(built, number, with_xla=False)
            assert outcome.problem is not None
            assert outcome.problem.startswith("values: x86-64-v")
            small = minimise.minimise(
                built,
                lambda b, n=number: minimise.trial_in_child(b, n, PAIR) is not None,
                seconds=30,
            )
            opcodes = {i.opcode for i in small.module.entry.instructions}
            assert opcodes <= {"parameter", "constant", "multiply", "tuple"}
            return
    pytest.fail("no module multiplies integers")


def test_a_run_that_was_stopped_goes_on(tmp_path):
    """What was tried again counts as it went the last time."""
    path = tmp_path / "modules.jsonl"
    path.write_text('{"number": 0, "problem": null}\n{"number": 1, "problem": "bits: x"}\n{"numb')
    found = campaign.results(path)
    assert sorted(found) == [0, 1]
    told = campaign.summary(found.values())
    assert told["modules"] == 2
    assert told["faults"] == [{"module": 1, "problem": "bits: x"}]
    path.write_text(path.read_text() + '\n{"number": 1, "problem": null}\n')
    assert campaign.summary(campaign.results(path).values())["faults"] == []
    assert {target_of(n) for n in range(10)} == {campaign.PAIR, campaign.ALL_LEVELS}


def test_the_documented_numbers_are_those_of_the_log():
    root = Path(__file__).parents[2]
    log = json.loads((root / "tests" / "fuzz" / "log.json").read_text())
    text = (root / "docs" / "reliability.md").read_text()
    modules, files = log["modules"], log["files"]
    numbers = [
        modules["modules"],
        modules["calls_of_compiled_code"],
        modules["elements_compared_with_the_interpreter"],
        modules["elements_compared_with_xla"],
        sum(modules["instructions_by_opcode"].values()),
    ]
    assert all(f" {n:,}" in text for n in numbers), numbers
    assert all(f"| {kind} | {n:,} | 0 |" in text for kind, n in files["files_by_kind"].items())
    assert modules["faults"] == files["faults"] == []
