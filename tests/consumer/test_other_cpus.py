"""Objects for other CPUs and systems: linked, run in an emulator, or checked by format."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from consumer_models import compile_to
from object_symbols import Format, symbols_of
from test_rows import SOURCE, make_inputs, write_inputs, write_model_header

from tfaot.codegen.target import resolve_targets
from tfaot.packaging.manifest import read_manifest

ROWS = 40
CROSS = {
    "aarch64-linux": ("aarch64-linux-gnu-gcc", "qemu-aarch64"),
    "riscv64-linux": ("riscv64-linux-gnu-gcc", "qemu-riscv64"),
    "ppc64le-linux": ("powerpc64le-linux-gnu-gcc", "qemu-ppc64le"),
}
OTHER_FORMATS = {"arm64-macos": Format.MACH_O, "x86-64-windows": Format.COFF}


def link(compiler: str, folder: Path, artifact) -> Path:
    """The program that runs a model for every batch size, for another CPU."""
    write_model_header(folder, read_manifest(artifact.manifest))
    program = folder / "program"
    flags = ["-std=c11", "-O1", "-static", "-Wl,--fatal-warnings", f"-I{folder}"]
    done = subprocess.run(
        [compiler, *flags, SOURCE, artifact.object, "-o", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return program


def run_rows(command: list[str | Path], folder: Path, model) -> list[np.ndarray]:
    """Outputs of ROWS rows; the program itself compares every smaller batch with them."""
    write_inputs(folder, make_inputs(model, ROWS))
    done = subprocess.run(
        [*command, str(ROWS), "1", "0"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stdout + done.stderr
    return [
        np.fromfile(folder / f"out{i}", spec.dtype.numpy)
        for i, spec in enumerate(model.signature.outputs)
    ]


def expected(artifact, model) -> list[np.ndarray]:
    result = artifact.load()(*make_inputs(model, ROWS))
    arrays = result.values() if isinstance(result, dict) else [result]
    return [array.reshape(-1) for array in arrays]


@pytest.mark.parametrize("platform", CROSS)
def test_runs_in_an_emulator_with_the_bits_of_this_cpu(platform, model, artifact, tool, tmp_path):
    compiler, emulator = map(tool, CROSS[platform])
    other = compile_to(tmp_path, model, platform)

    outputs = run_rows([emulator, link(compiler, tmp_path, other)], tmp_path, model)

    for ours, theirs in zip(outputs, expected(artifact, model), strict=True):
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("platform", OTHER_FORMATS)
def test_other_formats_hold_the_api_and_need_nothing(platform, model, tmp_path):
    artifact = compile_to(tmp_path, model, platform)
    symbols = read_manifest(artifact.manifest).symbols
    prefix = "_" if platform == "arm64-macos" else ""

    found = symbols_of(artifact.object.read_bytes())

    assert found.format is OTHER_FORMATS[platform]
    assert found.undefined == set()
    assert found.defined == {prefix + name for name in symbols.names}


def test_links_into_a_windows_program(model, tool, tmp_path):
    artifact = compile_to(tmp_path, model, "x86-64-windows")
    write_model_header(tmp_path, read_manifest(artifact.manifest))

    compiler = tool("x86_64-w64-mingw32-gcc")
    files = [SOURCE, artifact.object, "-o", tmp_path / "program.exe"]
    subprocess.run([compiler, "-std=c11", f"-I{tmp_path}", *files], check=True)

    assert (tmp_path / "program.exe").read_bytes()[:2] == b"MZ"


def test_weights_are_in_every_format(models, artifacts, tmp_path):
    native = artifacts["dense"].object.read_bytes()
    manifest = read_manifest(artifacts["dense"].manifest)
    # The bias of the first layer: 20 numbers in a row, wherever the format puts them.
    bias = _floats_of(models["dense"], "h0_b")
    assert native.count(bias) == 1

    for platform in (*CROSS, *OTHER_FORMATS):
        other = compile_to(tmp_path, models["dense"], platform)
        assert other.object.read_bytes().count(bias) == 1, platform
        assert read_manifest(other.manifest).weights_bytes == manifest.weights_bytes
        assert read_manifest(other.manifest).code_bytes > 0


def _floats_of(model, name: str) -> bytes:
    (constant,) = [i for i in model.module.entry.instructions if i.name.lstrip("%") == name]
    values = constant.attrs.value.reshape(-1)
    return struct.pack(f"<{len(values)}f", *values)


@pytest.mark.parametrize("platform", [*CROSS, *OTHER_FORMATS, "x86-64-v2"])
def test_features_of_this_machine_stay_out(platform, monkeypatch):
    def unexpected():
        raise AssertionError("asked for this machine's features")

    monkeypatch.setattr("tfaot.codegen.target.host_features", unexpected)

    for target in resolve_targets(platform):
        assert "avx" not in target.features
        assert target.cpu not in ("native", "")
