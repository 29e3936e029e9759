"""Damaged files through every reader: a named error of one line, or success; nothing else.

Input: a kind of file (`READERS`) and bytes. Output: what is wrong, if reading them ends in any way
but success or a `TfaotError` of one line: another exception, a hang, a crash.
"""

from __future__ import annotations

import functools
import json
import re
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from compiled import compile_module
from guard_pages import GuardedPages
from hlo_samples import WRAPPED
from module_graph import RandomModule

from tfaot.config import read_config
from tfaot.errors import TfaotError
from tfaot.ir.dtypes import DType
from tfaot.ir.printer import print_module
from tfaot.ir.proto import read_module
from tfaot.ir.shapes import BatchDim
from tfaot.ir.text import parse_module
from tfaot.ir.verifier import verify
from tfaot.packaging.elf import ElfObject
from tfaot.packaging.manifest import parse_manifest
from tfaot.testing.build import ModuleBuilder

SEEDS = Path(__file__).parent / "seeds"
SECONDS = 10.0
"""Of computing: longer than any file of a few kilobytes may take."""

_STATUSES = (0, 1, 2, 12, 13, 14, 15)
"""What attaching weights may return: done, or why not."""


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    Attributes:
        seeds: valid files to damage.
        read: reads the contents of one.
        is_text: whether it is text.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes], object]
    is_text: bool


class HangError(Exception):
    """Reading took too long."""


def problem_of(kind: str, data: bytes) -> str | None:
    """What is wrong with how a file is read; None where all is well."""
    # Of the process's own time: how busy the machine is must not matter.
    previous = signal.signal(signal.SIGPROF, _hang)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        READERS[kind].read(data)
    except TfaotError as error:
        text = str(error)
        if not text.strip() or "\n" in text:
            return f"message: {type(error).__name__} of {len(text.splitlines())} lines: {text!r}"
    except HangError:
        return f"hang: longer than {SECONDS} s"
    except Exception as error:  # this is what is looked for
        return f"{type(error).__name__}: {str(error)[:200]}{_place(error)}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    return None


def _hang(number: int, frame: FrameType | None) -> None:
    raise HangError


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    code = trace.tb_frame.f_code
    return f" in {Path(code.co_filename).name}:{trace.tb_lineno}"


# Damage


def damaged(kind: str, generator: np.random.Generator) -> bytes:
    """A valid file with some damage."""
    reader = READERS[kind]
    seeds = seeds_of(kind)
    data = seeds[int(generator.integers(len(seeds)))]
    if kind == "manifest" and generator.integers(2):
        return json.dumps(_damaged_value(json.loads(data), generator)).encode()
    for _ in range(1 + int(generator.geometric(0.5))):
        choices = _TEXT_DAMAGE if reader.is_text and generator.integers(4) else _DAMAGE
        data = choices[int(generator.integers(len(choices)))](data, seeds, generator)
    return data


@functools.cache
def seeds_of(kind: str) -> list[bytes]:
    """The whole files of a kind."""
    return READERS[kind].seeds()


_Damage = Callable[[bytes, list[bytes], np.random.Generator], bytes]


def _span(data: bytes, g: np.random.Generator, most: int = 64) -> tuple[int, int]:
    start = int(g.integers(len(data) + 1))
    return start, min(start + int(g.integers(1, most)), len(data))


def _flip(data: bytes, seeds: list[bytes], g: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(g.integers(1, 5))):
        if changed:
            changed[int(g.integers(len(changed)))] = int(g.integers(256))
    return bytes(changed)


def _cut(data: bytes, seeds: list[bytes], g: np.random.Generator) -> bytes:
    return data[: int(g.integers(len(data) + 1))]


def _remove(data: bytes, seeds: list[bytes], g: np.random.Generator) -> bytes:
    start, stop = _span(data, g)
    return data[:start] + data[stop:]


def _repeat(data: bytes, seeds: list[bytes], g: np.random.Generator) -> bytes:
    start, stop = _span(data, g)
    return data[:stop] + data[start:stop] * int(g.integers(1, 30)) + data[stop:]


def _splice(data: bytes, seeds: list[bytes], g: np.random.Generator) -> bytes:
    other = seeds[int(g.integers(len(seeds)))]
    start, stop = _span(data, g)
    first, last = _span(other, g, 200)
    return data[:start] + other[first:last] + data[stop:]


def _insert(data: bytes, seeds: list[bytes], g: np.random.Generator) -> bytes:
    at = int(g.integers(len(data) + 1))
    odd = (
        b"\0",
        b"\xff" * 8,
        b"\x80" * 11 + b"\x01",
        b"\n",
        b"{" * 300,
        b"(" * 2000,
        b"[" * 3000 + b"]" * 3000,
        b"\xc3",
    )
    return data[:at] + odd[int(g.integers(len(odd)))] + data[at:]


_DAMAGE: tuple[_Damage, ...] = (_flip, _flip, _cut, _remove, _repeat, _splice, _insert)
_TOKENS = re.compile(rb"-?\d+|\w+|\"[^\"]*\"|[^\w\s]")
_ODD_TOKENS = (
    b"0 -1 1 2147483648 -9223372036854775809 99999999999999999999999 1e400 nan B -B 0B 2B+1 inf {} "
    b"f32[] s4[3] c128[0,5] pred[2147483647,2147483647,2147483647] f32[-1] () tuple while dot "
    b'constant parameter null true [] "" ~ *a &a !!python/object:os.system %x ROOT ENTRY'
).split()


def _change_token(data: bytes, seeds: list[bytes], g: np.random.Generator) -> bytes:
    """One token becomes another of the file, or an odd one."""
    found = list(_TOKENS.finditer(data))
    if not found:
        return data
    one = found[int(g.integers(len(found)))]
    new = found[int(g.integers(len(found)))].group()
    if g.integers(2):
        new = _ODD_TOKENS[int(g.integers(len(_ODD_TOKENS)))]
    return data[: one.start()] + new + data[one.end() :]


def _move_line(data: bytes, seeds: list[bytes], g: np.random.Generator) -> bytes:
    lines = data.split(b"\n")
    line = lines.pop(int(g.integers(len(lines))))
    for _ in range(int(g.integers(3))):
        lines.insert(int(g.integers(len(lines) + 1)), line)
    return b"\n".join(lines)


_TEXT_DAMAGE: tuple[_Damage, ...] = (*(_change_token,) * 5, _move_line, _move_line, _splice)
_ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 1e400, 0.5, "", "x", "\n", "é\0", [], {}, [[]], {"a": 1}, [None], "1"
)  # fmt: skip


def _damaged_value(value: Any, g: np.random.Generator) -> Any:
    """JSON with one value replaced, left out, or doubled."""
    if isinstance(value, dict) and value and g.integers(8):
        key = list(value)[int(g.integers(len(value)))]
        kind = int(g.integers(8))
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            return value | {f"{key}_": value[key]}
        return value | {key: _damaged_value(value[key], g)}
    if isinstance(value, list) and value and g.integers(8):
        at = int(g.integers(len(value)))
        if g.integers(4) == 0:
            return [*value, value[at]]
        return [*value[:at], _damaged_value(value[at], g), *value[at + 1 :]]
    return _ODD_VALUES[int(g.integers(len(_ODD_VALUES)))]


# Readers


def _verified(module: Any) -> None:
    verify(module)


def _read_text(data: bytes) -> None:
    _verified(parse_module(data.decode("utf-8", "replace")))


def _read_proto(data: bytes) -> None:
    _verified(read_module(data))


def _read_config(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(data)
        file.flush()
        read_config(file.name)


def _read_manifest(data: bytes) -> None:
    parse_manifest(data.decode("utf-8", "replace"))


def _read_object(data: bytes) -> None:
    elf = ElfObject(data)
    elf.undefined()


@functools.cache
def _dense() -> Any:
    """A model with weights in a file of their own."""
    b = ModuleBuilder("dense")
    weights = b.constant(np.arange(35, dtype=np.float32).reshape(7, 5))
    bias = b.broadcast(b.constant(np.ones(5, np.float32)), (BatchDim(1), 5), (1,))
    y = b.binary("add", b.matmul(b.parameter(DType.F32, (BatchDim(1), 7)), weights), bias)
    from external import with_weights

    return compile_module(with_weights(b.module(y)), weights="external")


def _read_weights(data: bytes) -> None:
    run = _dense()
    pages = GuardedPages(-(-len(data) // 64) * 64, at_end=True)
    pages.bytes[: len(data)] = data
    import ctypes

    symbol = run.compiled.manifest.symbols.attach_weights
    attach = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
    status = attach(run.loaded.address(symbol))(pages.address, len(data))
    assert status in _STATUSES, f"status {status}"


_CONFIG = b"""\
model:
  name: test_simple
  version: "1.0.0"
  saved_model: ./saved_model
  serving_key: serving_default
  author: Someone
  description: A model
compilation:
  batch_sizes: [1, 2, 4]
  namespace: tfaot_model
  tf_xla_flags: ["--tf_xla_min_cluster_size=2"]
  xla_flags: ["--xla_cpu_enable_fast_math=false"]
"""


def _text_seeds() -> list[bytes]:
    modules = [RandomModule.numbered(n).build().module for n in range(100, 116)]
    texts = [t for m in modules if len(t := print_module(m).encode()) < 8000]
    return [WRAPPED.encode(), *texts]


def _proto_seeds() -> list[bytes]:
    """Modules as XLA itself writes them."""
    return [p.read_bytes() for p in sorted(SEEDS.glob("*.pb"))]


def _manifest_seeds() -> list[bytes]:
    numbers = (20, 21, 25)
    compiled = [compile_module(RandomModule.numbered(n).build().module) for n in numbers]
    found = []
    for one in (*compiled, _dense()):
        manifest = one.compiled.manifest
        known = replace(manifest.object, sha256="0" * 64)
        found.append(replace(manifest, object=known).to_json().encode())
    return found


READERS: dict[str, Reader] = {
    "text": Reader(_text_seeds, _read_text, True),
    "proto": Reader(
        lambda: [p.read_bytes() for p in sorted(SEEDS.glob("*.pb"))], _read_proto, False
    ),
    "yaml": Reader(lambda: [_CONFIG], _read_config, True),
    "manifest": Reader(_manifest_seeds, _read_manifest, True),
    "weights": Reader(lambda: [bytes(_dense().compiled.weights)], _read_weights, False),
    "object": Reader(lambda: [bytes(_dense().compiled.object_bytes)], _read_object, False),
}
"""Every kind of file that is read."""
