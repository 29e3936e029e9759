"""From TensorFlow's many-line errors to the one line that says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tfaot.errors import TfaotError

_LIMIT = 300
_NOISE = re.compile(
    r"^(\s*$|Traceback|\s+File |\s*\^|Detected at node|Node: |Stack trace|The op is created at"
    r"|dummy_file_name|Graph execution error|<stack traces|In call to|Exception encountered"
    r"|Arguments received|Call arguments"
    r"|\s+[•-] |\s*raise |Original stack trace|\d+ root error|\(\d+\) |config=)"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_STATUS = re.compile(r"^\(\d+\)\s*\w+:\s*|^[A-Z_]{4,}:\s*")
_NODE = re.compile(r"\{\{node (\S+?)\}\}")
_NODE_REFERENCE = re.compile(r"\s*\[?\[?\{\{(?:function_)?node [^}]*\}\}\]?\]?")
_DUMP = re.compile(r"\s*(tf2xla conversion failed|Run with TF_DUMP|To enable|This error is).*$")
_FATAL = re.compile(r"^F\d[^\]]*\]\s*(.*)$")


def essential_line(error: BaseException | str) -> str:
    """The line of an error's message that names the cause, at most 300 characters.

    Keras puts the cause behind "Exception encountered:", XLA first; both add stack traces, dump
    hints and node references.
    """
    text = _COLOUR.sub("", str(error))
    if "Exception encountered:" in text:
        text = text.rsplit("Exception encountered:", 1)[1]
    lines = [line.strip() for line in text.splitlines() if not _NOISE.match(line)]
    line = next((found for found in map(_clean, lines) if found), "")
    if not line:
        line = error if isinstance(error, str) else type(error).__name__
    if isinstance(error, KeyError):
        line = f"{line} is missing"
    return line if len(line) <= _LIMIT else line[: _LIMIT - 3] + "..."


def nodes_named(error: BaseException | str) -> tuple[str, ...]:
    """The graph nodes that a message of TensorFlow refers to, each once, in order."""
    return tuple(dict.fromkeys(_NODE.findall(str(error))))


def last_words(stderr: str) -> str:
    """The cause of a process's death, from what it wrote to standard error last."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    for line in reversed(lines):
        if fatal := _FATAL.match(line):
            return fatal.group(1)[:_LIMIT]
    meaning = [line for line in lines if not line.startswith(("***", "@", "PC:", "I0", "W0"))]
    return meaning[-1][:_LIMIT] if meaning else ""


@contextmanager
def translated(kind: type[TfaotError], what: str) -> Iterator[None]:
    """Turn any error of foreign code inside into `kind`, as `what: essential line`.

    Loading and tracing a model runs TensorFlow's, Keras's and the model author's code, which raise
    every class of exception for a model that is merely wrong; ours pass through unchanged.
    """
    try:
        yield
    except TfaotError:
        raise
    except Exception as error:
        raise kind(f"{what}: {essential_line(error)}") from error


def _clean(line: str) -> str:
    line = _STATUS.sub("", _DUMP.sub("", line))
    line = _NODE_REFERENCE.sub("", line)
    line = line.strip()
    quoted = len(line) > 1 and line[0] == line[-1] and line[0] in "'\""
    return line[1:-1].strip() if quoted else line
