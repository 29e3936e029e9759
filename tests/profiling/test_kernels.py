"""Time per kernel: what is counted, and that production objects have no timers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from compiled import signature_of

from tfaot.artifact import write_artifact
from tfaot.cli.kernels import kernel_text, short_layers
from tfaot.codegen.target import resolve_targets
from tfaot.compiler import Origin, build
from tfaot.errors import ArtifactError
from tfaot.ir.text import parse_module
from tfaot.lowering import Lowered
from tfaot.options import CompileOptions
from tfaot.packaging.manifest import Source
from tfaot.profiling.ceilings import measure_ceilings
from tfaot.profiling.kernels import profile_kernels
from tfaot.symbolic import specialise

DENSE = """
HloModule m
ENTRY e {
 x = f32[B,40] parameter(0)
 w = f32[40,48] parameter(1)
 v = f32[48,16] constant({VALUES})
 d = f32[B,48] dot(x,w), lhs_contracting_dims={1}, rhs_contracting_dims={0}, metadata={op_name="net/first/MatMul"}
 t = f32[B,48] tanh(d), metadata={op_name="net/first/Tanh"}
 ROOT y = f32[B,16] dot(t,v), lhs_contracting_dims={1}, rhs_contracting_dims={0}, metadata={op_name="net/second/MatMul"}
}
""".replace("VALUES", ",".join("{" + ",".join(["0.01"] * 15 + [str(k)]) + "}" for k in range(48)))  # noqa: E501

LOOP = """
HloModule m
body { s = (s32[], f32[B,32]) parameter(0)
 i = s32[] get-tuple-element(s), index=0
 x = f32[B,32] get-tuple-element(s), index=1
 one = s32[] constant(1)
 j = s32[] add(i, one)
 y = f32[B,32] sine(x)
 ROOT r = (s32[], f32[B,32]) tuple(j, y) }
condition { s = (s32[], f32[B,32]) parameter(0)
 i = s32[] get-tuple-element(s), index=0
 n = s32[] constant(7)
 ROOT p = pred[] compare(i, n), direction=LT }
ENTRY e {
 x = f32[B,32] parameter(0)
 z = s32[] constant(0)
 c = f32[B,32] cosine(x)
 s = (s32[], f32[B,32]) tuple(z, c)
 w = (s32[], f32[B,32]) while(s), condition=condition, body=body
 y = f32[B,32] get-tuple-element(w), index=1
 ROOT r = f32[B,32] exponential(y)
}
"""


def compiled(folder, text, *, timers=True, target="x86-64-v3", static=()):
    module = parse_module(text)
    lowered = Lowered((module,), (None,))
    if static:
        lowered = Lowered(tuple(specialise(module, s) for s in static), static, "asked", True)
    made = build(
        "timed",
        signature_of(module),
        lowered,
        resolve_targets(target),
        CompileOptions(folder, timers=timers),
        Origin(Source("test")),
    )
    return write_artifact(folder, "timed", made.header, made.object, made.manifest)


def test_work_is_counted_per_row_and_weights_per_call(tmp_path):
    model = compiled(tmp_path, DENSE).load()

    for batch in (1, 7, 500):
        found = profile_kernels(model, batch)
        first, second = found.kernels
        assert first.flops == batch * 48 * (2 * 40 + 1)
        assert second.flops == batch * 16 * 2 * 48
        assert second.calls == first.calls >= 1
        assert second.bytes_moved == batch * 4 * (48 + 16) + round(second.calls * 48 * 16 * 4)
        assert first.layers == ("net/first/MatMul", "net/first/Tanh")
        assert "tanh" in first.opcodes
        assert sum(map(found.share, found.kernels)) == pytest.approx(1)
        assert 0 < sum(k.seconds for k in found.kernels) < 2 * found.seconds
        assert set(found.layers()) == {"net/first/MatMul", "net/first/Tanh", "net/second/MatMul"}


def test_steps_of_loops_are_counted(tmp_path):
    found = profile_kernels(compiled(tmp_path, LOOP).load(), 4)

    by_opcode = {k.opcodes[-1]: k for k in found.kernels}
    assert by_opcode["sine"].calls == 7 * by_opcode["cosine"].calls
    assert by_opcode["sine"].flops == 7 * by_opcode["exponential"].flops == 7 * 4 * 32


def test_parts_of_a_composed_batch_are_counted(tmp_path):
    found = profile_kernels(compiled(tmp_path, DENSE, static=(2, 8)).load(), 18)

    flops = sum(k.flops for k in found.kernels)
    assert flops == 18 * (48 * (2 * 40 + 1) + 16 * 2 * 48)


def test_timers_change_no_result(tmp_path):
    plain = compiled(tmp_path / "plain", DENSE, timers=False).load()
    timed = compiled(tmp_path / "timed", DENSE, target="portable").load()
    random = np.random.default_rng(1)
    inputs = [random.normal(size=s).astype(np.float32) for s in ((33, 40), (40, 48))]

    assert timed(*inputs).tobytes() == plain(*inputs).tobytes()


def test_production_objects_have_no_timers(tmp_path):
    artifact = compiled(tmp_path, DENSE, timers=False)

    assert b"timers" not in artifact.object.read_bytes()
    with pytest.raises(ArtifactError, match="was compiled without timers: give the model itself"):
        profile_kernels(artifact.load(), 1)


def test_table_and_json(tmp_path):
    found = profile_kernels(compiled(tmp_path, DENSE).load(), 16)

    lines = kernel_text(found).splitlines()
    assert lines[0].startswith("timed, batch 16, x86-64-v3:")
    assert len(lines) == 4 + len(found.kernels)
    assert lines[-1].endswith("second")
    data = found.to_json()
    assert [k["kind"] for k in data["kernels"]] == ["dot", "dot"]
    assert data["batch"] == 16


def test_layers_are_shortened():
    names = ("StatefulPartitionedCall/model/dense_1/MatMul", "model/dense_1/Tanh", "Softmax")
    assert short_layers(names) == ["dense_1", "Softmax"]


def test_ceilings_are_speeds():
    found = measure_ceilings(1 << 16)
    assert found.flops > 1e9
    assert found.bytes_read > 1e8
    assert found.ticks > 1e6


def test_no_undefined_symbols(tmp_path):
    artifact = compiled(tmp_path, DENSE)
    done = subprocess.run(
        ["nm", "-u", Path(artifact.object)], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
