"""Damaged files of every kind end in a named error of one line, never in a traceback or a hang."""

import os
import sys

import malformed
import numpy as np
import pytest
from malformed import READERS, damaged, problem_of

from tfaot.errors import ArtifactError, InvalidModuleError, TfaotError, UsageError
from tfaot.ir.text import parse_module
from tfaot.packaging.manifest import parse_manifest

FILES = {"text": 300, "proto": 300, "yaml": 150, "manifest": 150, "weights": 200, "object": 300}


def in_child(function) -> int:
    """The exit status of a process that calls `function`: a crash ends it by a signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = function()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("kind", READERS)
def test_files_that_are_whole_are_read(kind):
    for data in malformed.seeds_of(kind):
        READERS[kind].read(data)


@pytest.mark.parametrize("kind", READERS)
def test_damaged_files(kind, tmp_path):
    malformed.seeds_of(kind)
    report = tmp_path / "problem.txt"

    def read_all() -> int:
        for number in range(FILES[kind]):
            data = damaged(kind, np.random.default_rng([number, 6]))
            report.write_text(f"file {number} crashed")
            problem = problem_of(kind, data)
            if problem:
                report.write_text(f"file {number}: {problem}")
                return 1
        return 0

    assert in_child(read_all) == 0, report.read_text()


def test_the_judge_of_readers_sees_what_is_wrong(monkeypatch):
    def broken(data):
        raise KeyError("x")

    def verbose(data):
        raise TfaotError("")

    for read, expected in ((broken, "KeyError"), (verbose, "message")):
        reader = malformed.Reader(lambda: [b"x"], read, True)
        monkeypatch.setitem(READERS, "broken", reader)
        assert problem_of("broken", b"x").startswith(expected)
    monkeypatch.setattr(malformed, "SECONDS", 1)
    endless = malformed.Reader(lambda: [b"x"], lambda d: [0 for _ in iter(int, 1)], True)
    monkeypatch.setitem(READERS, "broken", endless)
    assert problem_of("broken", b"x").startswith("hang")


def test_messages_are_one_line_whatever_they_quote():
    text = (
        "HloModule m\n\nENTRY %e (x: f32[2]) -> f32[2] {\n  ROOT %x = f32[2\nB] parameter(0)\n}\n"
    )
    with pytest.raises(InvalidModuleError) as error:
        parse_module(text)
    assert "\n" not in str(error.value)
    assert "is no dimension" in str(error.value)


def test_nesting_without_end_is_a_named_error(tmp_path):
    depth = sys.getrecursionlimit() * 2
    shape = "(" * depth + ")" * depth
    with pytest.raises(InvalidModuleError, match="nested too deeply"):
        parse_module(f"HloModule m\n\nENTRY %e () -> () {{\n  ROOT %x = {shape} tuple()\n}}\n")
    with pytest.raises(ArtifactError, match=r"corrupt|format_version"):
        parse_manifest("[" * depth * 50 + "]" * depth * 50)
    from tfaot.config import read_config

    path = tmp_path / "c.yaml"
    path.write_text("[" * depth + "]" * depth)
    with pytest.raises(UsageError):
        read_config(path)
