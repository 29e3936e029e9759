"""Nothing is read or written beside a buffer, left unwritten, allocated or kept: by every model.

Programs in C and C++ run the zoo between pages that can't be touched, under valgrind, built with
sanitizers, on measured stacks, and a million times.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from classes import program_of
from compiled import compile_module
from guard_pages import run_between_guard_pages
from zoo import CHOOSING, zoo

from tfaot.errors import UnsupportedError
from tfaot.ir.printer import print_module
from tfaot.ir.text import parse_module
from tfaot.packaging.manifest import read_manifest
from tfaot.testing.cases import FAMILIES, op_cases

HERE = Path(__file__).parent
MEMORY = HERE / "memory.c"
BATCHES = tuple(map(str, (0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100)))
MORE_BATCHES = [str(n) for n in range(301)]
MOST_STACK = 8192
CALLS = 1_000_000


def classes(folder: Path, names: Iterable[str]) -> Path:
    """The C++ program of the models in a folder."""
    source = folder / "classes.cpp"
    source.write_text(program_of(read_manifest(folder / f"{name}.json") for name in names))
    return source


def test_buffers_lie_between_pages_that_cannot_be_touched(fast_zoo, build_zoo, run_program):
    output = run_program(build_zoo(fast_zoo, MEMORY), "guard", *BATCHES)

    calls = int(output.split()[1])
    assert calls >= 3 * len(BATCHES) * (len(zoo()) - 2)


@pytest.mark.slow
def test_buffers_lie_between_such_pages_at_every_level(whole_zoo, build_zoo, run_program):
    run_program(build_zoo(whole_zoo, MEMORY), "guard", *MORE_BATCHES)


def test_guard_pages_end_a_program_that_passes_the_end(fast_zoo, build_zoo, tmp_path, tool):
    """The trap itself: a row more than there is ends the program by a signal."""
    source = tmp_path / "beyond.c"
    text = MEMORY.read_text()
    wrong = text.replace("if (run(&call) != expected)", "++call.n; if (run(&call) != expected)")
    assert wrong != text
    source.write_text(wrong)
    done = subprocess.run([build_zoo(fast_zoo, source), "guard", "5"], check=False)

    assert done.returncode == -11


def test_valgrind_finds_no_error(fast_zoo, build_zoo, run_program, tool):
    options = ("-q", "--error-exitcode=9", "--leak-check=full")
    run_program(
        tool("valgrind"), *options, build_zoo(fast_zoo, MEMORY), "exact", "0", "1", "5", "17"
    )


@pytest.mark.slow
def test_valgrind_finds_no_error_at_any_level_that_it_knows(
    whole_zoo, build_zoo, run_program, tool
):
    options = ("-q", "--error-exitcode=9", "--leak-check=full")
    run_program(tool("valgrind"), *options, build_zoo(whole_zoo, MEMORY), "exact", *BATCHES)


SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def test_classes_pass_the_sanitizers(few_zoo, build_zoo, run_program):
    program = build_zoo(few_zoo, classes(few_zoo, CHOOSING), *SANITIZERS)

    assert run_program(program) == "done\n"


@pytest.mark.slow
def test_all_classes_pass_the_sanitizers(whole_zoo, build_zoo, run_program):
    program = build_zoo(whole_zoo, classes(whole_zoo, zoo()), *SANITIZERS)

    assert run_program(program) == "done\n"


@pytest.mark.slow
def test_all_classes_under_valgrind(whole_zoo, build_zoo, run_program, tool):
    program = build_zoo(whole_zoo, classes(whole_zoo, zoo()))
    options = ("-q", "--error-exitcode=9", "--leak-check=full")

    assert run_program(tool("valgrind"), *options, program) == "done\n"


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_ops_between_pages_that_cannot_be_touched(family):
    """A third of all op cases: what they read lies inside of their operands."""
    for case in op_cases([family])[::3]:
        if case.error is not None:
            continue
        try:
            run = compile_module(parse_module(print_module(case.module())))
        except UnsupportedError:  # which types have no code, tests/codegen says
            continue
        for batch in (1, 17) if case.symbolic else (1,):
            inputs = case.inputs(3, batch)
            wanted = run(inputs, batch)
            for at_end in (False, True):
                found = run_between_guard_pages(run, inputs, batch, at_end=at_end)
                for one, other in zip(found, wanted, strict=True):
                    assert one.tobytes() == other.tobytes(), case


def check_stack(output: str) -> None:
    lines = [line.split() for line in output.splitlines()]
    assert len(lines) == len(zoo())
    for name, used, stated in lines:
        assert 0 < int(used) <= int(stated) <= MOST_STACK, (name, used, stated)


def test_calls_take_no_more_stack_than_stated(fast_zoo, build_zoo, run_program):
    check_stack(run_program(build_zoo(fast_zoo, MEMORY), "stack", *BATCHES))


@pytest.mark.slow
def test_calls_take_no_more_stack_than_stated_at_any_level(whole_zoo, build_zoo, run_program):
    check_stack(run_program(build_zoo(whole_zoo, MEMORY), "stack", *BATCHES, "300"))


def test_memory_does_not_grow(fast_zoo, build_zoo, run_program):
    run_program(build_zoo(fast_zoo, MEMORY), "growth", "3", "1000")


@pytest.mark.slow
def test_memory_does_not_grow_in_a_million_calls(whole_zoo, build_zoo, run_program):
    run_program(build_zoo(whole_zoo, MEMORY), "growth", "1", str(CALLS))
