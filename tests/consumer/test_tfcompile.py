"""Programs written for tfcompile's classes, on models that tfaot compiled."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from consumer_models import compile_to
from numpy.typing import NDArray
from test_rows import make_inputs
from tfcompile_reader import read_tfcompile_header

from tfaot.artifact import Artifact
from tfaot.cli.main import run as run_command

HERE = Path(__file__).parent
CLASSES = (
    ("dense", 1),
    ("dense", 3),
    ("stitched", 2),
    ("stitched", 5),
    ("several", 1),
    ("several", 2),
    ("several", 4),
    ("mixing", 2),
    ("fixed", 1),
)
MODES = ("all buffers", "own buffers")
STRICT = (
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Wold-style-cast",
    "-Wnon-virtual-dtor",
    "-Woverloaded-virtual",
)


@pytest.fixture(scope="module")
def folder(tfcompile_folder) -> Path:
    return tfcompile_folder


def objects(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.o"))


@pytest.fixture(scope="module")
def program(folder, build_program, tmp_path_factory) -> Path:
    """tfcompile_user.cpp, with the C header of one of the models in the same file."""
    place = tmp_path_factory.mktemp("program")
    source = place / "user.cpp"
    source.write_text('#include "several.h"\n' + (HERE / "tfcompile_user.cpp").read_text())
    return build_program(place / "program", source, "c++17", *objects(folder))


def run(command: Sequence[str | Path], given: bytes = b"") -> bytes:
    done = subprocess.run(
        [str(part) for part in command], input=given, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def expected(folder: Path, name: str, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    model = Artifact(folder / f"{name}.h", folder / f"{name}.o", folder / f"{name}.json").load()
    outputs = model(*inputs)
    return list(outputs.values()) if isinstance(outputs, dict) else [outputs]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "size"), CLASSES)
def test_results_are_bitwise_those_of_the_model(name, size, mode, models, folder, program):
    inputs = make_inputs(models[name], size)
    given = b"".join(array.tobytes() for array in inputs)
    found = run([program, f"{name}_bs{size}", mode], given)
    assert found == b"".join(array.tobytes() for array in expected(folder, name, inputs))


def test_accessors(program):
    run([program, "accessors", ""])


@pytest.mark.parametrize(
    ("standard", "flags"), [("c++17", STRICT), ("c++20", ("-fno-exceptions", "-fno-rtti"))]
)
def test_no_warning_from_the_headers(standard, flags, folder, build_program, tmp_path):
    source = tmp_path / "main.cpp"
    source.write_text(
        '#include "several_bs2.h"\nint main() { return tfaot_model::several_bs2().Run() ? 0 : 1; }'
    )
    program = build_program(
        tmp_path / "program", source, standard, folder / "several.o", flags=flags
    )
    run([program])


def test_weights_and_code_exist_once(models, folder, tmp_path):
    """A symbolic model stays one body, whatever the number of classes."""
    plain = compile_to(tmp_path, models["several"])
    assert plain.object.stat().st_size == (folder / "several.o").stat().st_size
    assert plain.headers == ()


def test_exported(folder, build_program, tmp_path):
    """The folder of headers that an export makes holds all that a class needs."""
    assert run_command(["export", str(folder / "several.json"), "-o", str(tmp_path), "-q"]) == 0
    source = tmp_path / "main.cpp"
    source.write_text(
        '#include "tfaot-model-several/several_bs2.h"\n'
        "int main() { return tfaot_model::several_bs2().Run() ? 0 : 1; }"
    )
    library = tmp_path / "lib" / "libtfaot-model-several.a"
    flags = (f"-I{tmp_path / 'include'}",)
    run([build_program(tmp_path / "program", source, "c++17", library, flags=flags)])


RUNNER = r"""
#include "several_bs1.h"
#include <cassert>
#include <cstdio>
#include <memory>

/* As LLVM's runner of models compiled for a release: by name, at batch size 1. */
template <class TGen>
class Runner final {
 public:
  Runner(const std::string &decision) : model(std::make_unique<TGen>()) {
    result = model->LookupResultIndex("fetch_" + decision);
  }
  void *input(const std::string &name) {
    const int index = model->LookupArgIndex("feed_" + name);
    return index >= 0 ? model->arg_data(index) : nullptr;
  }
  void *evaluate() {
    model->Run();
    return model->result_data(result);
  }

 private:
  int32_t result = -1;
  std::unique_ptr<TGen> model;
};

int main() {
  Runner<tfaot_model::several_bs1> runner("square");
  if (runner.input("model_selector") != nullptr) return 1;
  if (runner.input("features") != nullptr) return 2;
  auto *d = static_cast<double *>(runner.input("d"));
  for (int i = 0; i < 3; ++i) d[i] = i + 1;
  if (static_cast<double *>(runner.evaluate())[2] != 9) return 3;
  d[2] = 5;
  if (static_cast<double *>(runner.evaluate())[2] != 25) return 4;
  return 0;
}
"""


def test_in_the_style_of_llvm(folder, build_program, tmp_path):
    source = tmp_path / "main.cpp"
    source.write_text(RUNNER)
    run([build_program(tmp_path / "program", source, "c++17", folder / "several.o")])


def wrapper_text(folder: Path, name: str) -> str:
    """A wrapper over the classes of all sizes, from what their headers say."""
    headers = [read_tfcompile_header(path) for path in sorted(folder.glob(f"{name}_bs*.h"))]
    first = headers[0]

    def dispatch(call: str) -> str:
        cases = (f"if (batch == {h.batch}) return {call % f'bs{h.batch}_'};" for h in headers)
        return "\n    ".join(cases)

    def counts(kind: str, elements: dict[int, int]) -> str:
        per_row = ", ".join(str(elements[i] // first.batch) for i in range(len(elements)))
        return f"""
  const framework::Counts &{kind}Counts() const override {{
    static const framework::Counts counts = {{{per_row}}};
    return counts;
  }}"""

    def pointer(kind: str, const: str) -> str:
        return f"""
  template <typename T>
  {const}T *{kind}Data(std::size_t batch, std::size_t i) {const}{{
    {dispatch(f"static_cast<{const}T *>(%s.{kind}_data(i))")}
    return nullptr;
  }}"""

    includes = "\n".join(f'#include "{name}_bs{h.batch}.h"' for h in headers)
    members = "\n".join(
        f"  {h.class_name}_bs{h.batch} bs{h.batch}_{{allocMode()}};" for h in headers
    )
    return f"""
#include "tfcompile_wrapper.h"
{includes}
namespace {first.namespace} {{
class {first.class_name} : public framework::Wrapper {{
 public:{counts("arg", first.args)}{counts("result", first.results)}
{pointer("arg", "")}{pointer("arg", "const ")}{pointer("result", "")}{pointer("result", "const ")}
  bool run(std::size_t batch) override {{
    {dispatch("%s.Run()")}
    return false;
  }}

 private:
{members}
}};
}}
"""


WRAPPER_PROGRAM = r"""
#include "wrapper.h"
#include <cstdio>

template <typename T>
std::vector<std::vector<T>> read(std::size_t rows, std::size_t columns) {
  std::vector<std::vector<T>> values(rows, std::vector<T>(columns));
  for (auto &row : values) {
    if (std::fread(row.data(), sizeof(T), columns, stdin) != columns) std::exit(1);
  }
  return values;
}

int main() {
  constexpr std::size_t rows = 7;
  tfaot_model::several model;
  const auto x = read<float>(rows, 5);
  const auto id = read<int32_t>(rows, 1);
  const auto d = read<double>(rows, 3);
  const auto [y, positive, square] =
      framework::evaluate<tfaot_model::several, float, bool, double>(
          model, {4, 1, 4}, rows, x, id, d);
  for (const auto &row : y) std::fwrite(row.data(), 4, row.size(), stdout);
  for (const auto &row : positive) {
    for (const bool flag : row) std::fputc(flag, stdout);
  }
  for (const auto &row : square) std::fwrite(row.data(), 8, row.size(), stdout);
}
"""


def test_in_the_style_of_cms(models, folder, build_program, tmp_path):
    """A wrapper made from the headers, named as the model: it never meets the C header."""
    (tmp_path / "wrapper.h").write_text(wrapper_text(folder, "several"))
    source = tmp_path / "main.cpp"
    source.write_text(WRAPPER_PROGRAM)
    program = build_program(
        tmp_path / "program", source, "c++17", folder / "several.o", flags=(f"-I{HERE}",)
    )
    inputs = make_inputs(models["several"], 7)
    found = run([program], b"".join(array.tobytes() for array in inputs))
    assert found == b"".join(array.tobytes() for array in expected(folder, "several", inputs))
