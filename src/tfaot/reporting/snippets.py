"""How the artifact is called, in C++, C and Python: text to copy.

Input: a manifest. Output: programs that compile and run as they are, on inputs of zeros.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tfaot.packaging.header import class_name
from tfaot.packaging.manifest import Manifest, Tensor


@dataclass(frozen=True)
class Snippet:
    """A program: its language, how it is built, its text."""

    language: str
    build: str
    text: str


def snippets(manifest: Manifest) -> tuple[Snippet, ...]:
    """C++, C and Python."""
    name = manifest.name
    return (
        Snippet(
            "C++", f"g++ -std=c++17 -O2 main.cpp {manifest.object.file} -o main", _cpp(manifest)
        ),
        Snippet("C", f"cc -O2 main.c {manifest.object.file} -o main", _c(manifest)),
        Snippet("Python", f"in the folder of {name}.json", _python(manifest)),
    )


def _batch(manifest: Manifest) -> int:
    """Rows that the model takes."""
    return manifest.batch.sizes[0] if manifest.batch.sizes else 1


def _free(name: str, taken: Iterable[str]) -> str:
    """A name for a variable that no tensor has."""
    used = set(taken)
    while name in used:
        name += "_"
    return name


def _is_static(tensor: Tensor) -> bool:
    return all(isinstance(d, int) for d in tensor.dims)


def _cpp(manifest: Manifest) -> str:
    tensors = [t.c_name for t in manifest.tensors]
    model = _free("model", tensors)
    lines = [
        f'#include "{manifest.name}.h"',
        "",
        "#include <cstdint>",
        "#include <vector>",
        "",
        "int main() {",
        f"  using Model = {manifest.namespace}::{class_name(manifest)};",
        f"  const Model {model}{{}};     // no state: share it between threads",
        "  Model::workspace workspace; // one per thread",
        "",
        f"  const std::int64_t batch = {_batch(manifest)};",
    ]
    for tensor in manifest.inputs:
        size = f"Model::size_{tensor.c_name}({'' if _is_static(tensor) else 'batch'})"
        vector = f"std::vector<Model::type_{tensor.c_name}>"
        lines.append(f"  {vector} {tensor.c_name}(static_cast<std::size_t>({size}));")
    for tensor in manifest.outputs:
        lines.append(f"  std::vector<Model::type_{tensor.c_name}> {tensor.c_name};")
    arguments = ", ".join(["batch", *tensors, "workspace"])
    if manifest.weights is not None:
        lines.append(f'  if (Model::map_weights("{manifest.weights.file}") != TFAOT_OK) return 1;')
    lines += ["", f"  {model}.run_or_throw({arguments});", "  return 0;", "}"]
    return "\n".join(lines) + "\n"


def _c(manifest: Manifest) -> str:
    upper = manifest.name.upper()
    batch = _batch(manifest)
    lines = [f'#include "{manifest.name}.h"', "", "#include <stdlib.h>", "", "int main(void) {"]
    alignment = manifest.workspace.alignment
    if manifest.workspace.bytes is None:
        size = f"{manifest.symbols.workspace_bytes}({batch})"
        lines += [
            f"  size_t bytes = (size_t){size};",
            f"  bytes = (bytes / {alignment} + 1) * {alignment};",
            f"  void *workspace = aligned_alloc({alignment}, bytes);",
            "  if (!workspace) return 1;",
        ]
    else:
        # C has no arrays without elements.
        size = f"{upper}_WORKSPACE_BYTES{'' if manifest.workspace.bytes else ' + 1'}"
        lines.append(f"  static _Alignas({alignment}) unsigned char workspace[{size}];")
    for tensor in manifest.tensors:
        count = f"(size_t){upper}_SIZE_{tensor.c_name.upper()}({batch})"
        ctype = tensor.ctype.c
        lines += [
            f"  {ctype} *{tensor.c_name} = calloc({count} + 1, sizeof({ctype}));",
            f"  if (!{tensor.c_name}) return 1;",
        ]
    names = [t.c_name for t in manifest.tensors]
    arguments = ", ".join([str(batch), *names, "workspace"])
    freed = [*names, *(["workspace"] if manifest.workspace.bytes is None else [])]
    if manifest.weights is not None:
        mapped = f'{manifest.name}_map_weights("{manifest.weights.file}")'
        lines.append(f"  if ({mapped} != TFAOT_OK) return 1;")
    lines.append(f"  const int status = {manifest.symbols.run}({arguments});")
    lines += [f"  free({name});" for name in freed]
    lines += ["  return status == TFAOT_OK ? 0 : 1;", "}"]
    return "\n".join(lines) + "\n"


def _python(manifest: Manifest) -> str:
    batch = _batch(manifest)
    own = any(t.ctype.numpy != t.ctype.bits for t in manifest.inputs)
    lines = ["import ml_dtypes"] if own else []
    lines += ["import numpy as np", "", "import tfaot", ""]
    lines.append(f'model = tfaot.load("{manifest.name}.json")')
    arguments = []
    for tensor in manifest.inputs:
        module = "np" if tensor.ctype.numpy == tensor.ctype.bits else "ml_dtypes"
        dtype = "np.bool_" if tensor.ctype.numpy == "bool" else f"{module}.{tensor.ctype.numpy}"
        shape = tensor.shape(batch)
        text = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
        arguments.append(f"    {tensor.name!r}: np.zeros({text}, {dtype}),")
    lines += ["outputs = model(", "    **{", *("    " + a for a in arguments), "    }", ")"]
    single = len(manifest.outputs) == 1
    lines.append("print(outputs)" if single else "for name, values in outputs.items():")
    if not single:
        lines.append("    print(name, values)")
    return "\n".join(lines) + "\n"
