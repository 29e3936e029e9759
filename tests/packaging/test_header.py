"""The generated header, as its users compile it; and the ABI structures against the object."""

import subprocess
from dataclasses import replace

import pytest
from toy_artifact import toy_manifest, toy_object, write_toy

from tfaot.packaging.dtypes import CTYPES
from tfaot.packaging.header import c_string, header_text
from tfaot.packaging.info import MODEL_INFO_BYTES
from tfaot.packaging.manifest import AffineDim, Batch, ListedDim, Symbols, Tensor, Workspace

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion"]


def build(compiler, folder, source, standard, *more, objects=("toy.o",)):
    suffix = "c" if standard.startswith("c1") else "cpp"
    path = folder / f"main.{suffix}"
    path.write_text(source, encoding="utf-8")
    program = folder / "program"
    command = [compiler, f"-std={standard}", *WARNINGS, *more, "-O1", "-g", path.name, *objects]
    done = subprocess.run(
        [*command, "-o", str(program)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return program


def output_of(program):
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


C_PROGRAM = r"""
#include "toy.h"
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(struct tfaot_model_info) == MODEL_INFO_BYTES, "layout");
_Static_assert(sizeof(struct tfaot_tensor_info) == 32, "layout");
_Static_assert(sizeof(tfaot_complex64) == 8 && sizeof(tfaot_complex128) == 16, "layout");
_Static_assert(TOY_NUM_INPUTS == 2 && TOY_NUM_OUTPUTS == 2, "counts");
_Static_assert(TOY_BATCH == TFAOT_BATCH_SYMBOLIC && TOY_ROWS_INDEPENDENT == 1, "batch");
_Static_assert(TOY_WORKSPACE_BYTES == 64 && TOY_WORKSPACE_ALIGNMENT == 64, "workspace");

int main(void) {
  static _Alignas(64) unsigned char workspace[TOY_WORKSPACE_BYTES + 64];
  float x[12], y[12];
  double d[3] = {1.0, -1.0, 0.0};
  tfaot_bool positive[3];
  for (int i = 0; i < 12; ++i) x[i] = (float)i;
  if (TOY_SIZE_X(3) != 12 || TOY_SIZE_DOUBLE_(1 + 2) != 3) return 1;
  if (toy_workspace_bytes(3) != TOY_WORKSPACE_BYTES) return 2;
  if (toy_run(3, x, d, y, positive, workspace) != TFAOT_OK) return 3;
  if (toy_run(-1, x, d, y, positive, workspace) != TFAOT_NEGATIVE_BATCH) return 4;
  if (toy_run(3, NULL, d, y, positive, workspace) != TFAOT_NULL_POINTER) return 5;
  if (toy_run(3, x, d, y, positive, workspace + 1) != TFAOT_MISALIGNED_WORKSPACE) return 6;
  for (int i = 0; i < 12; ++i) printf("%g ", (double)y[i]);
  printf("%d%d%d\n", positive[0], positive[1], positive[2]);

  const struct tfaot_model_info *info = toy_info();
  if (info->abi_version != TFAOT_ABI_VERSION || info->struct_bytes != sizeof *info) return 7;
  printf("%s|%s|%s|%s|%s|%s|%s|%s|%s|%s\n", info->name, info->model_version, info->description,
         info->author, info->tfaot_version, info->llvm_version, info->tensorflow_version,
         info->target_triple, info->target_cpu, info->target_features);
  printf("%zu %d %d\n", strlen(info->source_digest), info->batch_kind, info->rows_independent);
  printf("%d %d %d %d %d\n", (int)info->num_batch_sizes, (int)info->workspace_bytes,
         (int)info->workspace_alignment, (int)info->weights_bytes, (int)info->parameter_bytes);
  if (info->code_bytes < 50 || info->batch_sizes != NULL) return 8;
  for (int i = 0; i < info->num_inputs + info->num_outputs; ++i) {
    const struct tfaot_tensor_info *t =
        i < info->num_inputs ? &info->inputs[i] : &info->outputs[i - info->num_inputs];
    printf("%s %s %d", t->name, t->c_name, t->dtype);
    for (int k = 0; k < t->rank; ++k)
      printf(" %d*n+%d", (int)t->dims[k].scale, (int)t->dims[k].offset);
    printf("\n");
  }
  printf("%s\n", tfaot_status_string(TFAOT_NULL_POINTER));
  return 0;
}
"""


def test_c11_program(compilers, tmp_path):
    write_toy(tmp_path)
    program = build(
        compilers[0], tmp_path, C_PROGRAM, "c11", f"-DMODEL_INFO_BYTES={MODEL_INFO_BYTES}"
    )
    assert output_of(program).splitlines() == [
        "1 0 4.5 106 9 8 12.5 114 17 16 20.5 122 100",
        'toy||a "toy" \\ model||0.1.0|22.1.0||x86_64-unknown-linux-gnu|x86-64-v3|',
        "64 2 1",
        "0 64 64 16 16",
        "x x 16 1*n+0 0*n+4",
        "double double_ 17 1*n+0",
        "y/out:0 y_out 16 1*n+0 0*n+4",
        "größer */ 0? gro_er_0 1 1*n+0",
        "null pointer",
    ]


CXX_PROGRAM = r"""
#include "toy.h"
#include "toy.h"
#include <cstdio>
#include <cstring>
#include <utility>

using tfaot_model::toy;

int main() {
  static_assert(toy::num_inputs == 2 && toy::rows_independent);
  static_assert(toy::workspace_is_constant == CONSTANT);
  static_assert(toy::shape_x(5)[0] == 5 && toy::shape_x(5)[1] == 4 && toy::size_x(5) == 20);
  static_assert(toy::input_dtypes[1] == TFAOT_F64 && toy::weights_bytes == 16);
  if (std::strcmp(toy::input_names[1], "double") != 0) return 1;
  if (toy::info().num_outputs != 2) return 2;
  const toy model;
  std::vector<toy::type_x> x{0, 1, 2, 3};
  std::vector<double> d{3};
  std::vector<float> y;
  std::vector<tfaot_bool> p;
  if (model.run(1, x, d, y, p) != TFAOT_OK || y.size() != 4 || y[3] != 106 || p[0] != 1) return 3;
  if (model.run(2, x, d, y, p) != TFAOT_SIZE_MISMATCH) return 4;
  if (model.run(-1, x, d, y, p) != TFAOT_NEGATIVE_BATCH) return 5;
  if (model.run(INT64_MAX, x, d, y, p) != TFAOT_BATCH_TOO_LARGE) return 6;
  std::vector<float> none_x, none_y;
  std::vector<double> none_d;
  std::vector<tfaot_bool> none_p;
  if (model.run(0, none_x, none_d, none_y, none_p) != TFAOT_OK) return 7;
  float out[4] = {};
  tfaot_bool flag[1] = {};
  if (model.run(1, x.data(), d.data(), out, flag) != TFAOT_OK || out[0] != 1) return 8;
  toy::workspace memory(1);
  toy::workspace other = std::move(memory);
  if (model.run(1, x.data(), d.data(), out, flag, other) != TFAOT_OK || out[1] != 0) return 9;
  if (model.run(1, x, d, y, p, memory) != TFAOT_OK || y[1] != 0) return 10;
  alignas(64) unsigned char own[128];
  if (model.run(1, x.data(), d.data(), out, flag, own) != TFAOT_OK) return 11;
  if (model.run(1, x.data(), d.data(), out, flag, nullptr) != TFAOT_NULL_POINTER) return 12;
#if defined(__cpp_lib_span)
  if (model.run(1, std::span<const float>(x), std::span<const double>(d), std::span<float>(out),
                std::span<tfaot_bool>(flag)) != TFAOT_OK) return 13;
  if (model.run(1, x, d, out, flag, memory) != TFAOT_OK) return 14;
  if (model.run(2, x, d, out, flag) != TFAOT_SIZE_MISMATCH) return 15;
#endif
#if defined(__cpp_exceptions)
  model.run_or_throw(1, x, d, y, p);
  try {
    model.run_or_throw(3, x, d, y, p);
    return 16;
  } catch (const std::runtime_error &error) {
    std::puts(error.what());
  }
#else
  std::puts("toy: buffer has the wrong number of elements");
#endif
  return 0;
}
"""


@pytest.mark.parametrize(
    ("standard", "flags", "growing"),
    [
        ("c++17", [], False),
        ("c++17", [], True),
        ("c++17", ["-fno-exceptions", "-fno-rtti"], False),
        ("c++17", ["-DTFAOT_MAX_STACK_BYTES=0"], False),
        ("c++17", ["-DTFAOT_MAX_STACK_BYTES=0"], True),
        ("c++20", ["-fsanitize=undefined,address"], False),
    ],
)
def test_cxx_program(compilers, tmp_path, standard, flags, growing):
    write_toy(tmp_path, growing=growing)
    constant = "-DCONSTANT=" + ("false" if growing else "true")
    program = build(compilers[1], tmp_path, CXX_PROGRAM, standard, constant, *flags)
    assert output_of(program) == "toy: buffer has the wrong number of elements\n"


def test_only_the_models_symbols_are_global(compilers, tmp_path):
    write_toy(tmp_path)
    names = subprocess.run(
        ["nm", "-g", "toy.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()[2::3]
    assert sorted(names) == ["toy_info", "toy_run", "toy_workspace_bytes"]


def test_two_models_in_one_program(compilers, tmp_path):
    write_toy(tmp_path, name="first")
    write_toy(tmp_path, replace(toy_manifest("second"), namespace="my::models"))
    source = """
#include "first.h"
#include "second.h"
int main() {
  return (tfaot_model::first::num_inputs == my::models::second::num_inputs &&
          first_info() != second_info()) ? 0 : 1;
}
"""
    program = build(compilers[1], tmp_path, source, "c++17", objects=("first.o", "second.o"))
    assert output_of(program) == ""


LISTED_PROGRAM = r"""
#include "toy.h"
using tfaot_model::toy;

int main() {
  static_assert(TOY_SIZE_HALF(4) == 6 && TOY_SIZE_HALF(9) == 15 && TOY_SIZE_HALF(5) == 0);
  static_assert(toy::shape_half(8)[1] == 4 && toy::size_half(8) == 12);
  const tfaot_model_info &info = toy::info();
  const tfaot_dim &half = info.outputs[2].dims[1], &again = info.outputs[3].dims[0];
  if (half.scale != 0 || half.offset != -1 || again.offset != -1) return 1;
  const tfaot_dim &other = info.outputs[3].dims[1];
  if (other.scale != 0 || other.offset != -2) return 2;
  const std::int64_t expected[] = {2, 4, 5, 7, 1, 0};
  for (int i = 0; i < 6; ++i) if (info.listed_sizes[i] != expected[i]) return 3;
  return info.code_bytes > 50 ? 0 : 4;
}
"""


def test_sizes_without_a_rule(compilers, tmp_path):
    sizes = (4, 8, 9)
    half, other = ListedDim(sizes, (2, 4, 5)), ListedDim(sizes, (7, 1, 0))
    more = Tensor("half", "half", "f32", (3, half)), Tensor("both", "both", "f32", (half, other))
    manifest = toy_manifest()
    manifest = replace(
        manifest, outputs=(*manifest.outputs, *more), batch=Batch("static", sizes, False)
    )
    write_toy(tmp_path, manifest)
    header = (tmp_path / "toy.h").read_text("utf-8")
    assert "half: output 'half', f32[3][2 or 4 or 5]" in header
    program = build(compilers[1], tmp_path, LISTED_PROGRAM, "c++17")
    assert output_of(program) == ""


def all_types_manifest(name, c_names=None):
    manifest = toy_manifest(name)
    shapes = [(), (3,), (AffineDim(1), 2), (AffineDim(2, 1), 4), (AffineDim(1, -1),), (0, 2)]
    tensors = [
        Tensor(f't{i} ??= */ \\ " é\n', (c_names or {}).get(i, f"t{i}"), dtype, shapes[i % 6])
        for i, dtype in enumerate(CTYPES)
    ]
    return replace(manifest, inputs=tuple(tensors[:10]), outputs=tuple(tensors[10:]))


def syntax(compiler, folder, name, standard, language, *more):
    source = folder / f"use_{name}.{'c' if language == 'c' else 'cpp'}"
    source.write_text(f'#include "{name}.h"\nint main(void) {{ return 0; }}\n')
    done = subprocess.run(
        [compiler, f"-std={standard}", *WARNINGS, *more, "-fsyntax-only", str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["types", "members", "batchless", "fixed", "no_inputs", "run"])
def test_unusual_models_compile(compilers, tmp_path, kind):
    manifest = all_types_manifest(kind)
    if kind == "members":  # names that the class uses itself
        words = ["run", "name", "info", "size_t1", "max_batch_", "num_inputs", "std_", "buffer"]
        manifest = all_types_manifest(kind, dict(enumerate(words)))
    elif kind == "batchless":
        fixed = tuple(replace(t, dims=(2, 3)) for t in manifest.inputs)
        out = tuple(replace(t, dims=()) for t in manifest.outputs)
        manifest = replace(manifest, inputs=fixed, outputs=out, batch=Batch("none"))
    elif kind == "fixed":
        batch = Batch("static", (1, 4), False, "rows */ mix")
        manifest = replace(manifest, batch=batch, workspace=Workspace(None, coefficients=(0, 64)))
    elif kind == "no_inputs":
        manifest = replace(manifest, inputs=(), workspace=Workspace(0))
    assert manifest.symbols == Symbols.of(kind)
    (tmp_path / f"{kind}.h").write_text(header_text(manifest), encoding="utf-8")
    syntax(compilers[0], tmp_path, kind, "c11", "c")
    # Tensors named like members do shadow them, which is what is tried there.
    shadow = [] if kind == "members" else ["-Wshadow"]
    for standard in ("c++17", "c++20"):
        syntax(compilers[1], tmp_path, kind, standard, "c++", *shadow)


def test_header_is_deterministic():
    assert header_text(toy_manifest()) == header_text(toy_manifest())
    assert toy_object(toy_manifest()) == toy_object(toy_manifest())


def test_c_strings():
    assert c_string('a"\\?é\n') == '"a\\"\\\\\\?\\303\\251\\012"'
