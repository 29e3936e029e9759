"""The install tree of compiled models: headers, libraries, and what build systems read.

Input: models. Output: contents by path:

    include/tfaot-model-NAME/NAME.h     and the further headers of the model
    lib/libtfaot-model-NAME.a
    lib/NAME.o, lib/NAME.json           what `tfaot.load` reads
    lib/cmake/NAME/                     find_package(NAME): NAME::NAME, NAME::NAME_shared
    lib/pkgconfig/tfaot-model-NAME.pc
    tfaot-model-NAME.xml                SCRAM

Models share the folders, and no file has an absolute path, so trees can be merged and moved.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tfaot.errors import UsageError
from tfaot.packaging.export.ar import static_library
from tfaot.packaging.export.models import ExportModel
from tfaot.packaging.export.texts import render, summary

FOLDER = "tfaot-models"
"""The folder that holds a tree where no other is named, in the current folder or an archive."""

DEFAULT_TOOL_BASE = f"$CMSSW_BASE/{FOLDER}"

# Names of processors in CMAKE_SYSTEM_PROCESSOR, by the triple's.
_PROCESSORS = {
    "x86_64": "x86_64|x86-64|amd64|AMD64|x64",
    "aarch64": "aarch64|arm64|ARM64",
    "arm64": "aarch64|arm64|ARM64",
    "riscv64": "riscv64",
    "powerpc64le": "ppc64le|powerpc64le",
}
_TOOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\Z", re.ASCII)


@dataclass(frozen=True)
class TreeOptions:
    """How an install tree is named.

    Attributes:
        tool_name: instead of `tfaot-model-NAME`, for one model alone.
        tool_base: the folder of the tree as SCRAM sees it, with `$` for environment variables.
    """

    tool_name: str | None = None
    tool_base: str = DEFAULT_TOOL_BASE

    def __post_init__(self) -> None:
        """Check the texts; UsageError names the option."""
        if self.tool_name is not None and not _TOOL_NAME.match(self.tool_name):
            raise UsageError(
                f"--tool-name: '{self.tool_name}' is no name of a tool: use letters, digits, "
                "'-', '_', '.' and '+'"
            )
        if not self.tool_base or any(ord(c) < 32 for c in self.tool_base):
            raise UsageError("--tool-base: give one folder, such as $CMSSW_BASE/tfaot-models")


def install_tree(
    models: Sequence[ExportModel], options: TreeOptions | None = None
) -> dict[str, tuple[bytes, ...]]:
    """Contents of the tree by path, in pieces, ordered by path.

    Raises:
        ArtifactError: a model's header is missing.
        UsageError: one tool name for several models.
    """
    options = options or TreeOptions()
    if options.tool_name is not None and len(models) > 1:
        raise UsageError(f"--tool-name is for one model, not for {len(models)}")
    contents: dict[str, tuple[bytes, ...]] = {}
    for model in models:
        contents.update(_tree(model, options))
    return dict(sorted(contents.items()))


def tool_name(model: ExportModel, options: TreeOptions) -> str:
    """What library, header folder, pkg-config package and SCRAM tool are called."""
    return options.tool_name or f"tfaot-model-{model.name}"


def _tree(model: ExportModel, options: TreeOptions) -> dict[str, tuple[bytes, ...]]:
    tool, name = tool_name(model, options), model.name
    object_file = model.manifest.object.file
    library_file = f"{tool}.lib" if _system(model) == "windows" else f"lib{tool}.a"
    values = _values(model, tool, options, library_file)
    files: dict[str, tuple[bytes, ...]] = {
        f"include/{tool}/{file}": (data,) for file, data in model.headers().items()
    }
    files |= {
        f"lib/{library_file}": static_library(
            model.object_bytes, f"{name}.o", model.manifest.symbols.names
        ),
        f"lib/{object_file}": (model.object_bytes,),
        f"lib/{name}.json": (model.manifest_bytes,),
        **{f"lib/{file}": (data,) for file, data in model.run_time_files.items()},
    }
    texts = {
        f"lib/cmake/{name}/{name}Config.cmake": "config.cmake.j2",
        f"lib/cmake/{name}/{name}ConfigVersion.cmake": "version.cmake.j2",
        f"lib/pkgconfig/{tool}.pc": "pkg_config.pc.j2",
        f"{tool}.xml": "scram.xml.j2",
    }
    return files | {path: (render(template, values),) for path, template in texts.items()}


def _values(
    model: ExportModel, tool: str, options: TreeOptions, library_file: str
) -> dict[str, object]:
    target = model.manifest.target
    system = _system(model)
    foreign = {"darwin": "Linux|Windows", "windows": "Linux|Darwin"}.get(system, "Darwin|Windows")
    return {
        "name": model.name,
        "tool_name": tool,
        "version": model.version,
        "cmake_version": _cmake_version(model.version),
        "target": f"{target.triple}, {target.cpu}",
        "triple": target.triple,
        "library_file": library_file,
        "object_file": model.manifest.object.file,
        "processors": _PROCESSORS.get(model.architecture, ""),
        "foreign_systems": foreign,
        "description": summary(model).replace("${", "$ {").replace("#", "\\#"),
        "base_variable": re.sub(r"[^A-Z0-9]", "_", tool.upper()) + "_BASE",
        "tool_base": escape(options.tool_base, {'"': "&quot;"}),
    }


def _system(model: ExportModel) -> str:
    triple = model.manifest.target.triple
    if "windows" in triple:
        return "windows"
    return "darwin" if "apple" in triple or "darwin" in triple else "linux"


def _cmake_version(version: str) -> str:
    """The numbers that a version begins with, which is all that CMake compares."""
    numbers = re.match(r"[vV]?(\d+(?:\.\d+){0,3})", version)
    return numbers.group(1) if numbers else "0.0.0"
