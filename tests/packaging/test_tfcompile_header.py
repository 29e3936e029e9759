"""Headers in tfcompile's shape: what tools read from them, names, and what can't be told."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tfcompile_reader import read_tfcompile_header
from toy_artifact import toy_manifest

from tfaot.artifact import write_artifact
from tfaot.errors import UsageError
from tfaot.packaging.dtypes import CTYPES
from tfaot.packaging.header import header_text
from tfaot.packaging.manifest import AffineDim, Batch, ListedDim, Tensor
from tfaot.packaging.tfcompile import class_sizes, stand_ins, tfcompile_headers

N = AffineDim(1)
STAND_INS = [
    "tensorflow/compiler/tf2xla/xla_compiled_cpu_function.h",
    "tensorflow/core/platform/types.h",
    "tfaot_eigen.h",
    "third_party/eigen3/unsupported/Eigen/CXX11/Tensor",
    "unsupported/Eigen/CXX11/Tensor",
]


OUTPUTS = (Tensor("y", "y", "f32", (N,)),)


def manifest_of(*inputs, outputs=OUTPUTS, **changes):
    return replace(toy_manifest(), inputs=inputs, outputs=outputs, **changes)


def tensor(name, *dims, dtype="f32"):
    return Tensor(name, "c_name", dtype, dims or (N, 4))


def names_in(text, table):
    line = text.split(f"Static{table}Names() {{")[1].splitlines()[1]
    return line.split("{")[1].split("}")[0].replace('"', "").split(", ")[:-1]


def test_files_are_one_per_size_and_the_stand_ins():
    headers = tfcompile_headers(toy_manifest(), (4, 1))
    assert list(headers) == sorted([*STAND_INS, "toy_bs1.h", "toy_bs4.h"])
    assert headers == tfcompile_headers(toy_manifest(), (1, 4))
    assert {path: headers[path] for path in STAND_INS} == stand_ins()


@pytest.mark.parametrize("namespace", ["tfaot_model", "one", "a::b"])
def test_what_generators_of_wrappers_read(tmp_path, namespace):
    manifest = manifest_of(
        tensor("x", N, 3, 2),
        tensor("flag", N, dtype="pred"),
        outputs=(tensor("y", N, 7), tensor("n", AffineDim(2), dtype="s32")),
        namespace=namespace,
    )
    for size in (1, 4):
        path = tmp_path / f"toy_bs{size}.h"
        path.write_text(tfcompile_headers(manifest, (size,))[path.name])
        header = read_tfcompile_header(path)
        assert (header.namespace, header.class_name, header.batch) == (namespace, "toy", size)
        assert header.args == {0: 6 * size, 1: size}
        assert header.results == {0: 7 * size, 1: 2 * size}


def test_names_are_those_of_saved_model_cli():
    manifest = manifest_of(
        tensor("in/x"), tensor("double"), tensor("größe:0"), outputs=(tensor("y/out"),)
    )
    text = tfcompile_headers(manifest, ())["toy_bs1.h"]
    assert names_in(text, "Arg") == ["feed_in_x", "feed_double", "feed_gr__e"]
    assert names_in(text, "Result") == ["fetch_y_out"]
    for member in ("arg_feed_in_x_data", "arg_double_data", "result_fetch_y_out", "set_arg1_data"):
        assert f" {member}(" in text


def test_names_that_clash_lose_the_plain_accessors():
    """`arg_data` is the base class's, and `arg_feed_x` belongs to the input x."""
    manifest = manifest_of(
        tensor("x"), tensor("feed_x"), tensor("data"), tensor("a.b"), tensor("a b")
    )
    text = tfcompile_headers(manifest, ())["toy_bs1.h"]
    assert names_in(text, "Arg") == ["feed_x", "feed_feed_x", "feed_data", "feed_a_b", "feed_a_b_2"]
    assert text.count(" arg_feed_x_count() const {") == 1
    assert " arg_data_data(" not in text
    assert " arg_feed_data_data(" in text


def test_types_are_tfcompiles_and_beyond_them_those_of_the_c_header():
    dtypes = {"pred": "bool", "s64": "int64_t", "u8": "uint8_t", "f64": "double"}
    dtypes |= {"bf16": "tfaot_bfloat16", "c64": "std::complex<float>"}
    manifest = manifest_of(*[tensor(dtype, dtype=dtype) for dtype in dtypes])
    text = tfcompile_headers(manifest, ())["toy_bs1.h"]
    for number, spelling in enumerate(dtypes.values()):
        assert f"  {spelling}* arg{number}_data() {{" in text


def test_shapes_are_those_at_the_batch_size():
    manifest = manifest_of(
        tensor("affine", AffineDim(2, -1), 3), tensor("scalar", 1), tensor("none", N, 0)
    )
    text = tfcompile_headers(manifest, (4,))["toy_bs4.h"]
    assert "float& arg0(size_t dim0, size_t dim1) {" in text
    assert "static_cast<float(*)[7][3]>" in text
    assert "float& arg1() {" in text
    assert "kArgBytes[kNumArgs + 1] = {84, 4, 0, 0};" in text


def test_sizes_of_each_kind_of_batch():
    symbolic = toy_manifest()
    assert class_sizes(symbolic, ()) == (1,)
    assert class_sizes(symbolic, (4, 2)) == (2, 4)
    static = replace(symbolic, batch=Batch("static", (2, 5), True))
    assert class_sizes(static, (2, 5)) == (2, 5)
    none = manifest_of(tensor("x", 3), outputs=(tensor("y", 3),), batch=Batch("none"))
    assert class_sizes(none, ()) == class_sizes(none, (1,)) == (1,)
    with pytest.raises(UsageError, match="no batch axis"):
        class_sizes(none, (1, 2))


def test_listed_sizes():
    static = manifest_of(
        tensor("x"),
        outputs=(tensor("y", ListedDim((2, 5), (1, 3))),),
        batch=Batch("static", (2, 5), False),
    )
    assert "result0_count() const {\n    return 3;" in tfcompile_headers(static, ())["toy_bs5.h"]


def test_sizes_that_do_not_fit():
    with pytest.raises(UsageError, match=r"does not run at 1, where the shape of 'x' is \[-2\]"):
        tfcompile_headers(manifest_of(tensor("x", AffineDim(1, -3))), (1,))
    with pytest.raises(UsageError, match="'x' takes 2 GB or more"):
        tfcompile_headers(manifest_of(tensor("x", N, 2**20)), (512,))
    assert tfcompile_headers(manifest_of(tensor("x", N, 2**20)), (511,))


def test_nothing_of_the_machine_or_the_time():
    text = tfcompile_headers(toy_manifest(), ())["toy_bs1.h"]
    assert "/home" not in text
    assert "/tmp" not in text
    assert "*/ 0" not in text  # a name of the toy's that would end a comment


def test_the_page_lists_what_is_written():
    page = (Path(__file__).parents[2] / "docs" / "tfcompile.md").read_text()
    for path in STAND_INS:
        assert f"out/{path.split('/')[0]}" in page
    text = tfcompile_headers(manifest_of(tensor("KEY"), outputs=(tensor("KEY"),)), ())["toy_bs1.h"]
    for member in ("arg_feed_KEY", "result_fetch_KEY"):
        assert member in page
        assert f" {member}(" in text


ODD = {
    "no_inputs": manifest_of(),
    "empty": manifest_of(tensor("x", N, 0), outputs=(tensor("y", 0, N), tensor("z"))),
    "clash": manifest_of(
        tensor("data"), tensor("x"), tensor("x_data"), tensor("feed_x"), tensor("0")
    ),
    "types": manifest_of(
        *[Tensor(f"in_{t}", f"in_{t}", t, (N, 2)) for t in CTYPES],
        outputs=tuple(Tensor(f"out_{t}", f"out_{t}", t, (N,)) for t in CTYPES),
        namespace="a::b",
    ),
}


@pytest.mark.parametrize("order", [("toy_bs1.h", "toy_bs3.h", "toy.h"), ("toy.h", "toy_bs1.h")])
@pytest.mark.parametrize("kind", ODD)
def test_odd_models_compile_beside_the_c_header(kind, order, compilers, tmp_path):
    tensors = [
        replace(t, c_name=f"t{i}") for i, t in enumerate((*ODD[kind].inputs, *ODD[kind].outputs))
    ]
    count = len(ODD[kind].inputs)
    manifest = replace(ODD[kind], inputs=tuple(tensors[:count]), outputs=tuple(tensors[count:]))
    write_artifact(
        tmp_path,
        "toy",
        header_text(manifest),
        b"",
        manifest,
        headers=tfcompile_headers(manifest, (1, 3)),
    )
    source = tmp_path / "main.cpp"
    lines = [f'#include "{header}"' for header in order]
    lines.append(f"bool run() {{ return {manifest.namespace}::toy_bs1().Run(); }}")
    source.write_text("\n".join(lines))
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion"]
    done = subprocess.run(
        [compilers[1], *flags, "-fsyntax-only", str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
