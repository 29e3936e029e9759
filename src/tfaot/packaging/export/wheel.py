"""Python wheels of compiled models: `pip install`, `from NAME import model`, with NumPy alone.

Input: a model. Output: file name and contents of its wheel: object, manifest, and the modules of
tfaot that load them (`vendored.py`).

The wheel's tags: `py3-none`, since no extension module is in it and the loader is plain Python;
`manylinux_2_17` and `musllinux_1_1`, since the object calls no C library at all, and the loader
uses mmap and mprotect of whichever the interpreter runs on; the CPU that the object is for. Whether
that CPU has the instructions is seen when the package is imported.

Sources: PyPA's "Binary distribution format", "Core metadata", "Platform compatibility tags".
"""

from __future__ import annotations

import base64
import hashlib
import keyword
import re
import sys

from tfaot.errors import UsageError
from tfaot.packaging.dtypes import CTYPES
from tfaot.packaging.export.archive import zip_archive
from tfaot.packaging.export.models import ExportModel
from tfaot.packaging.export.texts import one_line, render, summary
from tfaot.packaging.export.vendored import OUTSIDE, vendored_sources
from tfaot.packaging.manifest import Dim, ListedDim, Tensor

# Those that the loader supports, by the triple's CPU; manylinux2014 is what older pips know.
_PLATFORMS = {
    "x86_64": ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "musllinux_1_1_x86_64"),
}
# Public versions, with what people often write of them: a `v`, `-` or nothing between the parts.
_VERSION = re.compile(
    r"v?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<kind>alpha|beta|preview|pre|rc|a|b|c)[-_.]?(?P<number>\d*))?"
    r"(?:[-_.]?post[-_.]?(?P<post>\d*))?"
    r"(?:[-_.]?dev[-_.]?(?P<dev>\d*))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?\Z"
)
_KINDS = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}


def wheel(model: ExportModel, tool: str | None = None) -> tuple[str, bytes]:
    """File name and contents of a model's wheel.

    Args:
        model: the model.
        tool: the name of the distribution; by default `tfaot-model-NAME`.

    Raises:
        UsageError: its version is none for Python, or Python can't load objects of its kind.
    """
    triple = model.manifest.target.triple
    platforms = _PLATFORMS.get(model.architecture, ())
    if "linux" not in triple or not platforms:
        raise UsageError(
            f"'{model.name}' is compiled for {triple}, and Python loads objects for x86_64 Linux "
            "alone: export it without --wheel"
        )
    version = python_version(model.version)
    distribution = re.sub(r"[-_.]+", "-", tool or f"tfaot-model-{model.name}").strip("-").lower()
    stem = f"{distribution.replace('-', '_')}-{version}"
    module = module_name(model.name)
    contents: dict[str, tuple[bytes, ...]] = {
        f"{module}/{path}": (data,) for path, data in vendored_sources(module).items()
    }
    contents |= {
        f"{module}/__init__.py": (_init(model, module, version),),
        f"{module}/py.typed": (b"",),
        f"{module}/{model.name}.json": (model.manifest_bytes,),
        f"{module}/{model.manifest.object.file}": (model.object_bytes,),
        **{f"{module}/{file}": (data,) for file, data in model.run_time_files.items()},
    }
    information = f"{stem}.dist-info"
    contents[f"{information}/METADATA"] = (_metadata(model, module, distribution, version),)
    contents[f"{information}/WHEEL"] = (_wheel_file(platforms).encode(),)
    record = f"{information}/RECORD"
    contents[record] = (_record(contents, record).encode(),)
    last = (f"{information}/METADATA", f"{information}/WHEEL", record)
    return f"{stem}-py3-none-{'.'.join(platforms)}.whl", zip_archive(contents, last)


def module_name(name: str) -> str:
    """The module of a model: its name, or NAME_model where Python or NumPy has that name."""
    taken = keyword.iskeyword(name) or name in sys.stdlib_module_names or name in OUTSIDE
    return f"{name}_model" if taken or name in ("ml_dtypes", "tfaot", "pip") else name


def python_version(version: str) -> str:
    """`version` in Python's normal form (PEP 440, without epochs); UsageError where it has none."""
    match = _VERSION.match(version.lower())
    if match is None:
        raise UsageError(
            f"version '{version}' is none for Python packages: give one such as 1.2.0 or 1.2rc1 "
            "(--model-version)"
        )
    parts = match.groupdict()
    text = ".".join(str(int(number)) for number in parts["release"].split("."))
    if parts["kind"]:
        text += f"{_KINDS.get(parts['kind'], parts['kind'])}{int(parts['number'] or 0)}"
    for kind in ("post", "dev"):
        if parts[kind] is not None:
            text += f".{kind}{int(parts[kind] or 0)}"
    return text + (f"+{re.sub('[-_]', '.', parts['local'])}" if parts["local"] else "")


def _init(model: ExportModel, module: str, version: str) -> bytes:
    target = model.manifest.target
    docstring = f"The compiled model {model.name}, for {target.triple}, {target.cpu}."
    assert '"' not in docstring, "names and triples have no quotes"
    assert "\\" not in docstring, "nor backslashes"
    values = {
        "docstring": docstring,
        "module": module,
        "version": f'"{version}"',
        "manifest_file": f'"{model.name}.json"',
    }
    return render("wheel_init.py.j2", values)


def _metadata(model: ExportModel, module: str, distribution: str, version: str) -> bytes:
    manifest = model.manifest
    tensors = [("input", t) for t in manifest.inputs] + [("output", t) for t in manifest.outputs]
    values = {
        "distribution": distribution,
        "version": version,
        "summary": summary(model),
        "author": one_line(manifest.source.author or ""),
        "target": f"{manifest.target.triple}, {manifest.target.cpu}",
        "module": module,
        "arguments": ", ".join(t.c_name for t in manifest.inputs),
        "results": manifest.outputs[0].c_name if len(manifest.outputs) == 1 else "outputs",
        "tensors": [_row(kind, tensor) for kind, tensor in tensors],
    }
    return render("metadata.j2", values)


def _row(kind: str, tensor: Tensor) -> str:
    dims = ", ".join(map(_dim, tensor.dims))
    name = one_line(tensor.name).replace("`", "'").replace("|", "\\|")
    return f"{kind} | `{name}` | {CTYPES[tensor.dtype].numpy}[{dims}]"


def _dim(dim: Dim) -> str:
    if isinstance(dim, int):
        return str(dim)
    if isinstance(dim, ListedDim):
        return " or ".join(map(str, dim.sizes))
    head = {1: "n", -1: "-n"}.get(dim.scale, f"{dim.scale}*n")
    return head if dim.offset == 0 else f"{head}{dim.offset:+d}"


def _wheel_file(platforms: tuple[str, ...]) -> str:
    from tfaot import __version__

    lines = ["Wheel-Version: 1.0", f"Generator: tfaot {__version__}", "Root-Is-Purelib: false"]
    return "\n".join([*lines, *(f"Tag: py3-none-{platform}" for platform in platforms)]) + "\n"


def _record(contents: dict[str, tuple[bytes, ...]], record: str) -> str:
    lines = []
    for path in sorted(contents):
        digest = hashlib.sha256()
        for piece in contents[path]:
            digest.update(piece)
        text = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode("ascii")
        lines.append(f"{path},sha256={text},{sum(map(len, contents[path]))}\n")
    return "".join([*lines, f"{record},,\n"])
