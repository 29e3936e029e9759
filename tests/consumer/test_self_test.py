"""Golden rows in the object: right on every CPU, and wrong where a bit of it is."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from consumer_models import lower_to_static
from test_other_cpus import CROSS

from tfaot.artifact import write_artifact
from tfaot.cli.main import run as tfaot
from tfaot.codegen.target import resolve_targets
from tfaot.compiler import Origin, build, with_golden_rows
from tfaot.errors import ArtifactError, UsageError
from tfaot.options import CompileOptions
from tfaot.packaging.manifest import Source, read_manifest
from tfaot.runtime.model import load

SOURCE = """
#include <stdio.h>
#include "NAME.h"
static _Alignas(64) unsigned char memory[UPPER_SELF_TEST_BYTES];
int main(void) {
  int status = NAME_self_test(memory);
  puts(tfaot_status_string(status));
  return status;
}
"""


def with_rows(folder, model, target="portable"):
    """A model with golden rows, in a folder."""

    def made(what):
        return build(
            model.name,
            model.signature,
            lower_to_static(model),
            resolve_targets(what),
            CompileOptions(folder, self_test=True),
            Origin(Source("hlo"), model.parameter_bytes),
        )

    def written(compiled, place):
        return write_artifact(
            place, model.name, compiled.header, compiled.object, compiled.manifest
        )

    trial = written(made("portable"), folder / "trial").load()
    return written(with_golden_rows(made(target), trial, None), folder)


def program_text(name):
    return SOURCE.replace("NAME", name).replace("UPPER", name.upper())


def test_a_plugin_calls_its_own_functions(model, tmp_path, tool):
    """No other library with the same names takes their place (ELF's protected visibility)."""
    artifact = with_rows(tmp_path, model)

    table = subprocess.run(
        [tool("readelf"), "-s", "-W", artifact.object], capture_output=True, text=True, check=True
    ).stdout
    entries = [line.split() for line in table.splitlines() if " GLOBAL " in line]
    expected = set(read_manifest(artifact.manifest).symbols.names)

    assert {entry[7] for entry in entries} == expected >= {f"{model.name}_self_test"}
    assert {entry[5] for entry in entries} == {"PROTECTED"}


def test_golden_rows_come_out_on_every_level(model, tmp_path):
    loaded = with_rows(tmp_path, model).load()

    for level in (*loaded.manifest.target.cpus, None):
        loaded.set_max_isa(level)
        assert loaded.self_test()
    assert load(tmp_path / f"{model.name}.o").self_test()


def test_c_and_cpp(models, build_program, tmp_path):
    artifact = with_rows(tmp_path, models["several"])
    source = tmp_path / "main.c"
    source.write_text(program_text("several"))
    program = build_program(tmp_path / "program", source, "c11", artifact.object)
    assert subprocess.run([program], check=True, capture_output=True, text=True).stdout == "ok\n"

    source = tmp_path / "main.cpp"
    source.write_text(
        '#include "several.h"\nint main() { return tfaot_model::several::self_test() || '
        "tfaot_model::several::info().self_test_bytes != SEVERAL_SELF_TEST_BYTES; }\n"
    )
    subprocess.run([build_program(tmp_path / "plus", source, "c++17", artifact.object)], check=True)


def test_a_changed_weight_is_found(models, tmp_path):
    artifact = with_rows(tmp_path, models["dense"])
    data = bytearray(artifact.object.read_bytes())
    (bias,) = [i.attrs.value for i in models["dense"].module.entry.instructions if i.name == "h0_b"]
    packed = struct.pack(f"<{bias.size}f", *bias)
    assert data.count(packed) == 1
    data[data.index(packed) + 1] ^= 1  # one bit of one number
    artifact.object.write_bytes(data)

    assert not load(artifact.object).self_test()


def test_a_changed_golden_row_is_found_by_the_command(models, tmp_path, capsys):
    artifact = with_rows(tmp_path, models["dense"])
    assert tfaot(["selftest", str(artifact.manifest)]) == 0
    assert "x86-64-v2    ok" in capsys.readouterr().out

    loaded = artifact.load()
    loaded.set_max_isa("x86-64-v2")
    test = loaded.manifest.self_test
    generator = np.random.default_rng(7)
    golden = generator.normal(size=(test.batch, 9)).astype(np.float32)
    wanted = loaded(golden).tobytes()
    data = bytearray(artifact.object.read_bytes())
    data[data.index(wanted)] ^= 1
    artifact.object.write_bytes(data)
    manifest = read_manifest(artifact.manifest)
    changed = replace(manifest, object=replace(manifest.object, sha256=_sha256(data)))
    artifact.manifest.write_text(changed.to_json())

    assert tfaot(["selftest", str(artifact.manifest)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "x86-64-v2    FAILED"


def _sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("platform", CROSS)
def test_other_cpus_in_an_emulator(platform, models, tool, tmp_path):
    compiler, emulator = map(tool, CROSS[platform])
    artifact = with_rows(tmp_path, models["dense"], platform)
    (tmp_path / "main.c").write_text(program_text("dense"))
    command = [compiler, "-static", f"-I{tmp_path}", tmp_path / "main.c", artifact.object]
    subprocess.run([*command, "-o", tmp_path / "program"], check=True)

    done = subprocess.run(
        [emulator, tmp_path / "program"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "ok\n")


def test_nothing_of_it_where_it_is_not_asked_for(artifact, tool):
    symbols = subprocess.run(
        [tool("nm"), artifact.object], capture_output=True, text=True, check=True
    ).stdout
    assert "self_test" not in symbols
    assert "golden" not in symbols
    with pytest.raises(ArtifactError, match="has no golden rows: compile it with --self-test"):
        artifact.load().self_test()


def test_external_weights_are_refused(tmp_path):
    with pytest.raises(UsageError, match="--self-test needs the weights in the object"):
        CompileOptions(tmp_path, self_test=True, weights="external")
