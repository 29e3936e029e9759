"""Fifty small models with awkward names, and C++ that runs them.

Each multiplies by a number of its own, so that no two of them can be taken for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from consumer_models import Model, compile_to, make_model

from tfaot.artifact import Artifact
from tfaot.packaging.header import class_name
from tfaot.packaging.manifest import read_manifest

# Names that begin with each other, or with what a symbol of another ends with.
_PREFIXES = "net net_run net_run_run net_info net_size net_size_x net_set_max_isa n ne"
# Names equal but for case.
_CASES = "tagger Tagger TAGGER tAGGER"
# Names of what the header declares or uses, or of what C and C++ libraries declare.
_DECLARED = """
    name run info workspace workspace_bytes num_inputs evaluate isa set_max_isa isa_status
    apply_max_isa
    run_or_throw batch memory_ stack bytes buffer address has_size T Arguments int64 std_ vector
    array span byte size printf log y1 index optional string_view type_x shape_x size_x
"""
_VERSIONS = ("jets_2024", "jets_2025")
NAMES = (*" ".join((_PREFIXES, _CASES, _DECLARED)).split(), *_VERSIONS)
"""The names of the models."""

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]

TENSORS = {
    "net": ("x/in:0", "evaluate"),
    "size": ("size", "size_size"),
    "net_run": ("isa_status", "max_batch"),
    "net_info": ("size_y", "y"),
    "net_size": ("name", "num_inputs"),
    "n": ("run", "this->x"),
    "ne": ("type_n", "n"),
    "tagger": ("status", "stack"),
    "Tagger": ("T", "Arguments"),
    "T": ("std", "tfaot_detail"),
    "run": ("workspace", "workspace_bytes"),
    "array": ("size_t", "int64_t"),
    "vector": ("info", "class"),
    "byte": ("memory", "bytes"),
    "span": ("INPUT", "Output"),
    "log": ("printf", "NULL"),
}
"""Input and output of models whose tensors' names are awkward; others have x and y."""

CHOOSING = ("net", "tagger", "isa", "isa_status", "jets_2024")
"""Models that hold several instruction sets."""


@dataclass(frozen=True)
class Isolated:
    """A compiled model, what it multiplies by, and how its class is called."""

    name: str
    width: int
    factor: int
    artifact: Artifact
    class_name: str
    namespace: str


def scaling(name: str, width: int, factor: int) -> Model:
    """y = factor * x for rows of `width`, exact for small integers."""
    values = ",".join([str(factor)] * width)
    x, y = TENSORS.get(name, ("x", "y"))
    body = f"""
x = f32[B,{width}] parameter(0)
k = f32[{width}] constant({{{values}}})
ks = f32[B,{width}] broadcast(k), dimensions={{1}}
ROOT y = f32[B,{width}] multiply(x, ks)
"""
    return make_model(name, body, (x,), (y,), 4 * width)


def compile_isolated(
    folder: Path, names: Sequence[str] = NAMES, namespaces: bool = False, shift: int = 0
) -> tuple[Isolated, ...]:
    """The models of these names, in a folder. `shift` makes other versions of them.

    With `namespaces` each has a C++ namespace of its own.
    """
    result = []
    for name in names:
        number = NAMES.index(name) if name in NAMES else len(NAMES)
        width, factor = 1 + number % 7, 2 + number + shift
        if name in _VERSIONS:
            width = 5
        model = scaling(name, width, factor)
        namespace = f"models::of_{name}" if namespaces else "tfaot_model"
        target = "portable" if name in CHOOSING else "x86-64-v3"
        artifact = compile_to(folder, model, target, namespace=namespace)
        manifest = read_manifest(artifact.manifest)
        result.append(Isolated(name, width, factor, artifact, class_name(manifest), namespace))
    return tuple(result)


def includes(models: Sequence[Isolated]) -> str:
    """Include the models' headers."""
    return "".join(f'#include "{m.name}.h"\n' for m in models)


def check_of(model: Isolated) -> str:
    """A C++ function `int check_NAME()`: 0 where each way to run gives the model's own results."""
    m = model
    return f"""
int check_{m.name}() {{
  using model_type = ::{m.namespace}::{m.class_name};
  constexpr std::int64_t rows = 3;
  constexpr std::size_t count = rows * {m.width};
  const model_type model;
  std::vector<float> x(count), y;
  for (std::size_t i = 0; i < count; ++i) x[i] = static_cast<float>(i);
  const auto right = [&y] {{
    bool same = y.size() == count;
    for (std::size_t i = 0; i < y.size(); ++i) same &= y[i] == static_cast<float>({m.factor} * i);
    for (float &value : y) value = -1;
    return same;
  }};
  if (std::strcmp(model_type::name, "{m.name}") != 0) return 1;
  if (std::strcmp(model.info().name, "{m.name}") != 0) return 2;
  // Taken by reference, so that the arrays themselves have to be there.
  const auto &names = model_type::input_names;
  if (std::strcmp(names[0], model.info().inputs[0].name) != 0) return 3;
  if (model.run(rows, x, y) != TFAOT_OK || !right()) return 4;
  if (model.run(rows, x.data(), y.data()) != TFAOT_OK || !right()) return 5;
  model_type::workspace memory;
  if (model.run(rows, x.data(), y.data(), memory) != TFAOT_OK || !right()) return 6;
  if (::{m.name}_run(rows, x.data(), y.data(), memory.data()) != TFAOT_OK || !right()) return 7;
  const void *inputs[] = {{x.data()}};
  void *outputs[] = {{y.data()}};
  if (model.info().run(rows, inputs, outputs, memory.data()) != TFAOT_OK || !right()) return 8;
#if defined(__cpp_lib_span)
  if (model.run(rows, std::span<const float>(x), std::span<float>(y)) != TFAOT_OK) return 9;
  if (!right()) return 10;
#endif
#if defined(__cpp_exceptions)
  model.run_or_throw(rows, x, y);
  if (!right()) return 11;
#endif
  std::vector<float> nothing, none;
  if (model.run(0, nothing, none) != TFAOT_OK || !none.empty()) return 12;
  return model.run(rows, nothing, none) == TFAOT_SIZE_MISMATCH ? 0 : 13;
}}
"""


def program_of(models: Sequence[Isolated], function: str = "main", reverse: bool = False) -> str:
    """C++ that checks all models in a function that returns 0, and prints which one failed."""
    ordered = tuple(reversed(models)) if reverse else tuple(models)
    calls = "".join(
        f'  if (const int code = check_{m.name}()) return std::printf("{m.name}: %d\\n", code);\n'
        for m in models
    )
    declared = "int main()"
    if function != "main":
        declared = f'extern "C" __attribute__((visibility("default"))) int {function}()'
    checks = "".join(map(check_of, models))
    return (
        f"{includes(ordered)}#include <cstdio>\n#include <cstring>\n#include <vector>\n\n"
        f"namespace {{\n{checks}\n}}  // namespace\n\n{declared} {{\n{calls}  return 0;\n}}\n"
    )
