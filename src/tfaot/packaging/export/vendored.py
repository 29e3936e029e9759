"""The modules that a compiled model's Python package carries, so that it needs NumPy alone.

Input: the name of the package. Output: sources by path, with imports of `tfaot` led to the
package's private copy. What of tfaot isn't listed here, none of them imports to load a model.
"""

from __future__ import annotations

import ast
import sys
from importlib import resources

RUNTIME_MODULES = (
    "tfaot.errors",
    "tfaot.options",
    "tfaot.packaging",
    "tfaot.packaging.batch_rules",
    "tfaot.packaging.dtypes",
    "tfaot.packaging.elf",
    "tfaot.packaging.external",
    "tfaot.packaging.info",
    "tfaot.packaging.manifest",
    "tfaot.packaging.names",
    "tfaot.runtime",
    "tfaot.runtime.alone",
    "tfaot.runtime.arrays",
    "tfaot.runtime.cpu",
    "tfaot.runtime.elf",
    "tfaot.runtime.info",
    "tfaot.runtime.model",
    "tfaot.runtime.weights",
    "tfaot.weights_file",
)
"""All that loading and running needs; a test compares it with what the modules import."""

OUTSIDE = frozenset({"numpy"})
"""What they import besides each other and the standard library."""

_ROOT = '"""The part of tfaot that runs compiled models. Apache License 2.0."""\n'


def vendored_sources(package: str) -> dict[str, bytes]:
    """Contents by path below the package's folder: `_tfaot/errors.py` and so on."""
    sources = {"_tfaot/__init__.py": _ROOT.encode()}
    for module in RUNTIME_MODULES:
        path, text = _source(module)
        sources[f"_tfaot/{path}"] = redirect_imports(text, f"{package}._tfaot").encode()
    return sources


def _source(module: str) -> tuple[str, str]:
    """Path of a module below tfaot's folder, and its text."""
    parts = module.split(".")[1:]
    root = resources.files("tfaot")
    folder = root.joinpath(*parts)
    if folder.is_dir():
        return "/".join([*parts, "__init__.py"]), folder.joinpath("__init__.py").read_text("utf-8")
    path = "/".join(parts) + ".py"
    return path, root.joinpath(path).read_text("utf-8")


def redirect_imports(text: str, package: str) -> str:
    """`text` with `from tfaot.x import y` as `from PACKAGE.x import y`; no other form may occur."""
    lines = text.splitlines(keepends=True)
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                assert all(n.name.split(".")[0] != "tfaot" for n in names), "use from ... import"
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "tfaot":
                line = lines[node.lineno - 1]
                lines[node.lineno - 1] = line.replace("from tfaot", f"from {package}", 1)
    return "".join(lines)


def imported_modules(text: str) -> set[str]:
    """Names of the modules that `text` imports as soon as it is imported itself."""
    found: set[str] = set()
    waiting: list[ast.stmt] = list(ast.parse(text).body)
    while waiting:
        match waiting.pop():
            case ast.Import(names=names):
                found.update(name.name for name in names)
            case ast.ImportFrom(module=str(module)):
                found.add(module)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=rest):
                waiting += rest
            case ast.If(body=body, orelse=rest):
                waiting += body + rest
            case ast.Try(body=body, handlers=handlers, orelse=rest, finalbody=last):
                waiting += body + rest + last + [s for h in handlers for s in h.body]
            case ast.With(body=body) | ast.ClassDef(body=body):
                waiting += body
    return found


def is_standard(module: str) -> bool:
    """Whether a module is the standard library's."""
    return module.split(".")[0] in sys.stdlib_module_names
