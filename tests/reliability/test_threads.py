"""Calls from threads, processes, forks and signal handlers, all at once, from the first on.

Compilers' sanitizers see what they compiled: the header's own code. Valgrind's helgrind sees every
load and store of the object as well.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from classes import program_of
from consumer_models import compile_to
from zoo import CHOOSING, write_list, zoo

from tfaot.packaging.manifest import read_manifest

HERE = Path(__file__).parent
THREADS = HERE / "threads.c"
SMALL_STACK = str(64 << 10)
HELGRIND = ("-q", "--tool=helgrind", "--error-exitcode=9")


@pytest.fixture(scope="module")
def program(fast_zoo, build_zoo) -> Path:
    return build_zoo(fast_zoo, THREADS)


@pytest.fixture(scope="module")
def whole_program(whole_zoo, build_zoo) -> Path:
    return build_zoo(whole_zoo, THREADS)


def test_sixty_four_threads_make_the_first_call_at_once(program, run_program):
    run_program(program, "threads", "64", "5", "100")


def test_sixty_four_threads_under_the_thread_sanitizer(fast_zoo, build_zoo, run_program):
    run_program(build_zoo(fast_zoo, THREADS, "-fsanitize=thread"), "threads", "64", "5")


def race_classes(folder, names, build_zoo, run_program) -> None:
    """Threads that share nothing but the header's own statics."""
    source = folder / "threads.cpp"
    source.write_text(program_of(read_manifest(folder / f"{name}.json") for name in names))

    assert run_program(build_zoo(folder, source, "-fsanitize=thread"), "64") == "done\n"


def test_classes_under_the_thread_sanitizer(few_zoo, build_zoo, run_program):
    race_classes(few_zoo, CHOOSING, build_zoo, run_program)


@pytest.mark.slow
def test_all_classes_under_the_thread_sanitizer(whole_zoo, build_zoo, run_program):
    race_classes(whole_zoo, zoo(), build_zoo, run_program)


def test_no_race_in_the_objects_own_code(program, run_program, tool):
    run_program(tool("valgrind"), *HELGRIND, program, "threads", "4", "5")


def test_a_race_in_an_object_is_seen(build_zoo, tool, tmp_path):
    """Timers are counted without a lock, which their documentation says: helgrind finds it."""
    compile_to(tmp_path, zoo()["zoo_dense"], name="zoo_dense", timers=True)
    write_list(tmp_path, ("zoo_dense",))
    program = build_zoo(tmp_path, THREADS)
    command = [tool("valgrind"), *HELGRIND, program, "threads", "4", "5"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 9
    assert "data race" in done.stderr


def test_processes_make_the_first_call_at_once(program, run_program):
    run_program(program, "first", "2", "4", "8", "7")


def test_forks_in_the_middle_of_calls(program, run_program):
    run_program(program, "fork", "10", "2", "17")


def interruptions(output: str) -> int:
    return int(output.splitlines()[0].split()[1])


def test_signal_handlers_call_models_that_are_running(program, run_program):
    output = run_program(program, "signals", "100", "20000", "17")

    assert interruptions(output) > 20


def test_small_stacks_are_enough(program, run_program):
    run_program(program, "stacks", SMALL_STACK, "1", "7", "100")


@pytest.mark.slow
def test_threads_at_length(whole_program, run_program):
    for _ in range(20):
        run_program(whole_program, "threads", "64", "1", "5", "33", "100")


@pytest.mark.slow
def test_sixty_four_threads_under_helgrind(whole_program, run_program, tool):
    run_program(tool("valgrind"), *HELGRIND, whole_program, "threads", "64", "5")


@pytest.mark.slow
def test_processes_at_length(whole_program, run_program):
    run_program(whole_program, "first", "50", "8", "8", "7")


@pytest.mark.slow
def test_forks_at_length(whole_program, run_program):
    run_program(whole_program, "fork", "1000", "3", "17")


@pytest.mark.slow
def test_signals_at_length(whole_program, run_program):
    output = run_program(whole_program, "signals", "50", "300000", "17")

    assert interruptions(output) > 2000


@pytest.mark.slow
def test_small_stacks_at_every_level(whole_program, run_program):
    run_program(whole_program, "stacks", SMALL_STACK, "1", "7", "100", "300")
