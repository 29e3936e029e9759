"""Headers in the shape of tfcompile's: one class per batch size, over the model's one C function.

Input: a manifest and batch sizes. Output: texts by path, `NAME_bs<N>.h` and the headers that stand
in for TensorFlow's and Eigen's where those are not installed. They compile as C++17 without a
warning, on either base class: TensorFlow's own `XlaCompiledCpuFunction` or the one that stands in.

Sources of the shape: TensorFlow's `tensorflow/compiler/aot/codegen.cc` for members and layout, its
`saved_model_cli aot_compile_cpu` for the names of arguments (`feed_KEY`) and results (`fetch_KEY`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from tfaot.errors import UsageError
from tfaot.packaging.header import c_string, comment, template_environment
from tfaot.packaging.manifest import Manifest, Tensor

if TYPE_CHECKING:
    from importlib.abc import Traversable

_PREFIXES = {"arg": "feed_", "result": "fetch_"}
_LARGEST = 2**31 - 1  # sizes and counts are ints, as tfcompile's are

# Element types as tfcompile spells them; what it has none for keeps the spelling of NAME.h.
_TYPES = {"pred": "bool", "c64": "std::complex<float>", "c128": "std::complex<double>"}


@dataclass(frozen=True)
class _Value:
    """An argument or result as the template prints it.

    Attributes:
        literal: its name as a C string, with the prefix.
        place: where its pointer is among the buffers of a call.
        abi: its element type in NAME_run.
        bytes: size of its buffer.
        signature: name, type and shape, for a comment.
    """

    literal: str
    place: str
    abi: str
    bytes: int
    signature: str


@dataclass(frozen=True)
class _Accessor:
    """One set of accessors: `arg0` and so on (name `0`), or `arg_feed_x` (name `_feed_x`)."""

    name: str
    index: int
    type: str
    dim_vars: str
    dim_sizes: str
    indices: str
    count: int


def class_sizes(manifest: Manifest, sizes: Sequence[int]) -> tuple[int, ...]:
    """The batch sizes that get a class: those asked for, 1 where none is.

    Raises:
        UsageError: the model can't run at one of them.
    """
    batch = manifest.batch
    if batch.kind == "none" and any(size != 1 for size in sizes):
        raise UsageError(
            "the model has no batch axis, so the tfcompile interface has one class, for batch size "
            "1: leave out --batch-sizes"
        )
    if batch.kind == "static":
        return batch.sizes
    return tuple(sorted(set(sizes))) or (1,)


def tfcompile_headers(manifest: Manifest, sizes: Sequence[int]) -> dict[str, str]:
    """The headers by path: `NAME_bs<N>.h` for each of `class_sizes`, and the stand-ins.

    Raises:
        UsageError: a batch size is none that the model can run at, or too large for the interface.
    """
    texts = {
        f"{manifest.name}_bs{size}.h": _class_text(manifest, size)
        for size in class_sizes(manifest, sizes)
    }
    return dict(sorted({**texts, **stand_ins()}.items()))


def stand_ins() -> dict[str, str]:
    """The headers that stand in for TensorFlow's and Eigen's, by path below the artifact."""
    return dict(_texts(_templates() / "tfcompile", ""))


def _texts(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            yield from _texts(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_text("utf-8")


def _templates() -> Traversable:
    return resources.files(__package__) / "templates"


def _class_text(manifest: Manifest, batch: int) -> str:
    _check_sizes(manifest, batch)
    class_name = f"{manifest.name}_bs{batch}"
    inputs = _values("arg", manifest.inputs, 0, batch)
    outputs = _values("result", manifest.outputs, len(inputs), batch)
    environment = template_environment()
    folder = _templates()
    accessors = environment.from_string((folder / "tfcompile_accessors.h.j2").read_text("utf-8"))
    template = environment.from_string((folder / "tfcompile.h.j2").read_text("utf-8"))
    version = manifest.versions.get("tfaot", "")
    return template.render(
        versions=f" {comment(version)}" if version else "",
        name=manifest.name,
        batch=batch,
        class_name=class_name,
        guard=f"TFAOT_TFCOMPILE_{class_name}_H_",
        object_file=comment(manifest.object.file),
        namespace=manifest.namespace,
        symbols=manifest.symbols,
        glue=(folder / "tfcompile_glue.h").read_text("utf-8"),
        includes=["complex"] if any(t.dtype in ("c64", "c128") for t in manifest.tensors) else [],
        declarations=_declarations(manifest),
        inputs=inputs,
        outputs=outputs,
        signature_inputs=", ".join(v.signature for v in inputs),
        signature_outputs=", ".join(v.signature for v in outputs),
        arg_accessors=_accessors("arg", manifest.inputs, batch),
        result_accessors=_accessors("result", manifest.outputs, batch),
        accessors=lambda kind, a: accessors.render(kind=kind, a=a),
    )


def _check_sizes(manifest: Manifest, batch: int) -> None:
    for tensor in manifest.tensors:
        shape = tensor.shape(batch)
        if min(shape, default=0) < 0:
            raise UsageError(
                f"--batch-sizes: the model does not run at {batch}, where the shape of "
                f"'{tensor.name}' is {list(shape)}"
            )
        if math.prod(shape) * tensor.ctype.size > _LARGEST:
            raise UsageError(
                f"--batch-sizes: at {batch}, '{tensor.name}' takes 2 GB or more, which the "
                "tfcompile interface can't tell"
            )


def _declarations(manifest: Manifest) -> list[str]:
    """What the parameters of NAME_run need of NAME.h, so that both headers may be included."""
    names = {t.ctype.c for t in manifest.tensors if t.ctype.c.startswith("tfaot_")}
    known = {
        "tfaot_bool": "typedef uint8_t tfaot_bool;",
        "tfaot_float8": "typedef uint8_t tfaot_float8;",
        "tfaot_float16": "typedef uint16_t tfaot_float16;",
        "tfaot_bfloat16": "typedef uint16_t tfaot_bfloat16;",
        "tfaot_complex64": "struct tfaot_complex64;",
        "tfaot_complex128": "struct tfaot_complex128;",
    }
    return [known[name] for name in sorted(names)]


def _values(kind: str, tensors: Sequence[Tensor], first: int, batch: int) -> list[_Value]:
    values = []
    for number, (tensor, key) in enumerate(zip(tensors, _keys(tensors), strict=True)):
        shape = tensor.shape(batch)
        size = math.prod(shape) * tensor.ctype.size
        # An empty argument may have no address: any one will do.
        place = "kNumArgs + kNumResults" if kind == "arg" and size == 0 else str(first + number)
        name = _PREFIXES[kind] + key
        values.append(
            _Value(
                literal=c_string(name),
                place=place,
                abi=tensor.ctype.c,
                bytes=size,
                signature=f"{name}: {tensor.dtype}[{','.join(map(str, shape))}]",
            )
        )
    return values


def _keys(tensors: Sequence[Tensor]) -> list[str]:
    """The tensors' names, all different, as ends of C++ identifiers."""
    used: set[str] = set()
    keys = []
    for tensor in tensors:
        key = re.sub(r"\W", "_", re.sub(r":0\Z", "", tensor.name), flags=re.ASCII)
        candidate, count = key, 1
        while candidate in used:
            count += 1
            candidate = f"{key}_{count}"
        used.add(candidate)
        keys.append(candidate)
    return keys


def _accessors(kind: str, tensors: Sequence[Tensor], batch: int) -> list[_Accessor]:
    """By number, by prefixed key (`_feed_x`) and by key alone (`_x`), in the tensors' order.

    Of names that would clash, the first of these three kinds counts.
    """
    keys = _keys(tensors)
    names = [
        (family, index, text)
        for index, key in enumerate(keys)
        for family, text in enumerate((str(index), f"_{_PREFIXES[kind]}{key}", f"_{key}"))
    ]
    taken = {f"{kind}_data", f"{kind}_size"}  # the base class's
    kept = []
    for family, index, text in sorted(names):
        members = {f"{kind}{text}{end}" for end in ("", "_data", "_size", "_count")}
        if not members & taken:
            taken |= members
            kept.append((index, family, text))
    return [_accessor(text, index, tensors[index], batch) for index, _, text in sorted(kept)]


def _accessor(name: str, index: int, tensor: Tensor, batch: int) -> _Accessor:
    shape = tensor.shape(batch)
    scalar = shape in ((), (1,))
    dims: Iterable[int] = (1,) if scalar else shape
    return _Accessor(
        name=name,
        index=index,
        type=_TYPES.get(tensor.dtype, tensor.ctype.c),
        dim_vars="" if scalar else ", ".join(f"size_t dim{n}" for n in range(len(shape))),
        # C++ has no arrays without elements; nothing is read through these.
        dim_sizes="".join(f"[{max(d, 1)}]" for d in dims),
        indices="[0]" if scalar else "".join(f"[dim{n}]" for n in range(len(shape))),
        count=math.prod(shape),
    )
