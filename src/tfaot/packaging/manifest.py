"""The manifest: one typed description of an artifact, stored as NAME.json.

Header, introspection data, wrappers and the loader are all made from it. Reading is strict: an
unknown, missing or ill-typed field is an ArtifactError. Writing is deterministic: sorted keys, no
dates, no absolute paths. Only the standard library is needed.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import sys
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union

from tfaot.errors import ArtifactError
from tfaot.options import DEFAULT_NAMESPACE
from tfaot.packaging.dtypes import CTYPES, CType
from tfaot.packaging.external import ExternalWeights
from tfaot.packaging.names import unique_c_names
from tfaot.weights_file import file_bytes

if TYPE_CHECKING:
    from tfaot.signature import Signature, SpecDim, TensorSpec

FORMAT_VERSION = 1
WORKSPACE_ALIGNMENT = 64
BATCH_KINDS = ("none", "static", "symbolic")

Json = Any  # None, bool, int, float, str, lists and dicts of them
T = TypeVar("T")


@dataclass(frozen=True)
class AffineDim:
    """A dimension of size `scale * batch + offset`, scale not 0."""

    scale: int
    offset: int = 0


@dataclass(frozen=True)
class ListedDim:
    """A dimension without a rule, of static models alone: `sizes[i]` at `batch.sizes[i]`."""

    batches: tuple[int, ...]
    sizes: tuple[int, ...]


Dim = Union[int, AffineDim, ListedDim]


@dataclass(frozen=True)
class Varying:
    """The axes of an output whose size depends on the data, and what tells the sizes.

    `size` is the name of the output that follows: a scalar where one axis varies, else an array
    with the size of each such axis.
    """

    axes: tuple[int, ...]
    size: str


@dataclass(frozen=True)
class Tensor:
    """One input or output.

    Attributes:
        name: the user's name.
        c_name: a C identifier.
        dtype: HLO type name.
        dims: the dimensions.
        varying: which of them are bounds, None where none is; elements beyond the true size are 0.
    """

    name: str
    c_name: str
    dtype: str
    dims: tuple[Dim, ...]
    varying: Varying | None = None

    @property
    def ctype(self) -> CType:
        """The element type as C sees it."""
        return CTYPES[self.dtype]

    def shape(self, batch: int) -> tuple[int, ...]:
        """The sizes for one batch size (a negative one means that the batch doesn't fit)."""
        return tuple(_size(d, batch) for d in self.dims)


def _size(dim: Dim, batch: int) -> int:
    if isinstance(dim, int):
        return dim
    if isinstance(dim, AffineDim):
        return dim.scale * batch + dim.offset
    return dict(zip(dim.batches, dim.sizes, strict=True)).get(batch, -1)


@dataclass(frozen=True)
class Batch:
    """How the model meets its batch axis.

    Attributes:
        kind: `symbolic` (any n), `static` (compiled for `sizes`, composed to any n where rows are
            independent) or `none` (no batch axis; the batch argument is ignored, pass 1).
        sizes: the static sizes, ascending.
        rows_independent: whether a row's result depends on that row alone.
        reason: why rows are not independent, or why there is no symbolic form.
    """

    kind: str = "symbolic"
    sizes: tuple[int, ...] = ()
    rows_independent: bool = True
    reason: str | None = None

    @property
    def is_composed(self) -> bool:
        """Whether other batch sizes are composed of `sizes`."""
        return self.kind == "static" and self.rows_independent


@dataclass(frozen=True)
class Workspace:
    """Scratch memory of one call: constant bytes, or None where it grows with the batch size.

    `coefficients` then tells how: a call with n rows takes the sum of `coefficients[k] * n**k`
    bytes. They are empty where it is constant.
    """

    bytes: int | None
    alignment: int = WORKSPACE_ALIGNMENT
    coefficients: tuple[int, ...] = ()

    def at(self, batch: int) -> int:
        """Bytes of workspace that a call with `batch` rows takes."""
        if self.bytes is not None:
            return self.bytes
        assert self.coefficients, "an object without its manifest does not tell"
        return sum(c * batch**power for power, c in enumerate(self.coefficients))


@dataclass(frozen=True)
class Kernel:
    """One generated kernel: name, kind (`dense`, `elementwise`, ...), the layers it evaluates."""

    name: str
    kind: str
    layers: tuple[str, ...] = ()
    details: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """Machine the object is for.

    Attributes:
        triple: LLVM's target triple.
        cpus: LLVM's cpu names, ascending. Where there are several, the object holds code for each
            and chooses as it runs.
        features: the LLVM features that it needs beyond the cpu's name.
    """

    triple: str
    cpus: tuple[str, ...]
    features: tuple[str, ...] = ()

    @property
    def cpu(self) -> str:
        """The cpus as texts show them."""
        return ", ".join(self.cpus)


@dataclass(frozen=True)
class ObjectFile:
    """The object beside the manifest: its file name and the SHA-256 of its bytes in hex."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Symbols:
    """The object's global functions.

    `set_max_isa` is there only where the object chooses an instruction set, `run_parts` only where
    static batch sizes are composed to others, `attach_weights` only where the weights are outside,
    `self_test` only where golden rows are inside. `timers` is data, of builds that time their
    kernels.
    """

    run: str
    workspace_bytes: str
    info: str
    set_max_isa: str | None = None
    run_parts: str | None = None
    timers: str | None = None
    attach_weights: str | None = None
    self_test: str | None = None

    @classmethod
    def of(
        cls,
        name: str,
        *,
        dispatches: bool = False,
        composes: bool = False,
        timed: bool = False,
        external: bool = False,
        tested: bool = False,
    ) -> Symbols:
        """The symbols of the model called `name`."""
        return cls(
            f"{name}_run",
            f"{name}_workspace_bytes",
            f"{name}_info",
            f"{name}_set_max_isa" if dispatches else None,
            f"{name}_run_parts" if composes else None,
            f"{name}_timers" if timed else None,
            f"{name}_attach_weights" if external else None,
            f"{name}_self_test" if tested else None,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        found = (
            self.run,
            self.workspace_bytes,
            self.info,
            self.set_max_isa,
            self.run_parts,
            self.timers,
            self.attach_weights,
            self.self_test,
        )
        return tuple(name for name in found if name is not None)


@dataclass(frozen=True)
class Source:
    """Where the model came from.

    Attributes:
        kind: `saved_model`, `keras`, `h5`, `graph_def`, `function` ...
        digest: SHA-256 in hex of the model's files (or of its lowered HLO).
        signature: the signature key, where it has one.
        version: the user's version of the model.
        description: one line about the model.
        author: who made it.
    """

    kind: str
    digest: str = ""
    signature: str | None = None
    version: str | None = None
    description: str | None = None
    author: str | None = None


@dataclass(frozen=True)
class SelfTest:
    """Golden rows in the object: how many, and the bytes of memory that running them takes."""

    batch: int
    workspace_bytes: int


@dataclass(frozen=True)
class Manifest:
    """The artifact.

    `weights_bytes` is the size of the read-only weight blob, which is in the object, or in a file
    of its own where `weights` tells of one; `parameter_bytes` is that of the model's
    own parameters, `code_bytes` that of the machine code, `data_bytes` that of all else in the
    object that is in memory at run time (constants, tables, introspection data). `stack_bytes` is
    the most stack that a call of any of its functions takes, None where the code could not be
    followed. `versions` maps tool to version (`tfaot`, `llvm`, `tensorflow`, `xla`).
    `verification` is the report, None where it was left out. `headers` are the paths of all headers
    besides NAME.h, relative to the manifest, with `/` and sorted.
    `internals` tells people what the compiler made of the model (`packaging.internals`), None
    where that is not known; it is read when it is looked at, since calls don't need it.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batch: Batch
    workspace: Workspace
    weights_bytes: int
    parameter_bytes: int
    code_bytes: int
    data_bytes: int
    stack_bytes: int | None
    target: Target
    object: ObjectFile
    symbols: Symbols
    source: Source
    kernels: tuple[Kernel, ...] = ()
    namespace: str = DEFAULT_NAMESPACE
    headers: tuple[str, ...] = ()
    weights: ExternalWeights | None = None
    self_test: SelfTest | None = None
    verification: dict[str, Json] | None = None
    internals: dict[str, Json] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Inputs, then outputs: the order of the pointers that `run` takes."""
        return (*self.inputs, *self.outputs)

    def with_internals(self, internals: Any) -> Manifest:
        """The same with the section `internals` set from its dataclass."""
        return dataclasses.replace(self, internals=_plain(internals))

    def to_json(self) -> str:
        """Deterministic JSON text, ended by a newline."""
        return json.dumps(_plain(self), sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def tensors_of(signature: Signature) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs of a manifest, with C names unique over both."""
    c_names = unique_c_names(s.name for s in (*signature.inputs, *signature.outputs))
    count = len(signature.inputs)
    return (
        _tensors(signature.inputs, c_names[:count]),
        _tensors(signature.outputs, c_names[count:]),
    )


def _tensors(specs: Sequence[TensorSpec], c_names: Iterable[str]) -> tuple[Tensor, ...]:
    following = [spec.name for spec in specs[1:]]
    return tuple(
        Tensor(
            spec.name,
            c_name,
            spec.dtype.value,
            tuple(map(_dim, spec.dims)),
            Varying(spec.varying, following[number]) if spec.varying else None,
        )
        for number, (spec, c_name) in enumerate(zip(specs, c_names, strict=True))
    )


def _dim(dim: SpecDim) -> Dim:
    from tfaot.ir.shapes import BatchDim  # here, so that loading an artifact does not import it

    if isinstance(dim, int):
        return dim
    if isinstance(dim, BatchDim):
        return AffineDim(dim.scale, dim.offset)
    return ListedDim(tuple(b for b, _ in dim.sizes), tuple(s for _, s in dim.sizes))


def read_manifest(path: str | Path) -> Manifest:
    """The manifest in the file `path`; ArtifactError where it is missing, corrupt or newer."""
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except IsADirectoryError:
        raise ArtifactError(f"'{path}' is a folder: give the NAME.json inside it") from None
    except FileNotFoundError:
        raise ArtifactError(f"there is no manifest '{path}': compile the model first") from None
    except OSError as error:
        raise ArtifactError(f"can't read manifest '{path}': {error.strerror}") from None
    except UnicodeDecodeError:
        raise ArtifactError(f"'{path}' is no manifest: it is not UTF-8 text") from None
    try:
        return parse_manifest(text)
    except ArtifactError as error:
        raise ArtifactError(f"manifest '{path}': {error}") from None


def parse_manifest(text: str) -> Manifest:
    """The manifest written as `text`; ArtifactError names the field that is wrong."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"corrupt, not JSON ({error}): compile the model again") from None
    if not isinstance(data, dict) or "format_version" not in data:
        raise ArtifactError("no manifest of tfaot: it has no format_version")
    version = data["format_version"]
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ArtifactError(
            f"format {version} is newer than this tfaot reads ({FORMAT_VERSION}): update tfaot"
        )
    manifest: Manifest = decode(Manifest, data, "")
    _check(manifest)
    return manifest


def _plain(value: Any) -> Any:
    """JSON values of dataclasses, tuples and dicts, recursively."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinities
    return value


def decode(kind: Any, value: Any, where: str) -> Any:
    """`value` of parsed JSON as an instance of the annotation `kind`, or ArtifactError."""
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Union or origin is types.UnionType:
        return _decode_union(arguments, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(decode(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {k: decode(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(kind, type) and type(value) is kind:
        return value
    wanted = {tuple: "list", dict: "object"}.get(origin, getattr(kind, "__name__", str(kind)))
    raise ArtifactError(f"field '{where}' is corrupt: expected {wanted}, got {_shorten(value)}")


def _decode_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    if isinstance(value, dict):
        objects = [o for o in options if not _is_plain(o)]
        same = [o for o in objects if value.keys() == _field_names(o)]
        if objects:
            return decode((same or objects)[0], value, where)
    for option in options:
        if type(value) is option:
            return decode(option, value, where)
    wanted = " or ".join(getattr(o, "__name__", str(o)) for o in options)
    raise ArtifactError(f"field '{where}' is corrupt: expected {wanted}, got {_shorten(value)}")


def _field_names(kind: Any) -> set[str]:
    return {f.name for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()


def _is_plain(kind: Any) -> bool:
    return kind in (int, float, str, bool, type(None))


def _decode_dataclass(kind: type[Any], value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ArtifactError(f"field '{where}' is corrupt: expected object, got {_shorten(value)}")
    known: Any = kind
    hints = _hints(known)
    prefix = f"{where}." if where else ""
    for key in sorted(value.keys() - hints.keys()):
        raise ArtifactError(f"unknown field '{prefix}{key}'")
    arguments = {}
    for f in dataclasses.fields(kind):
        if f.name not in value:
            raise ArtifactError(f"field '{prefix}{f.name}' is missing")
        arguments[f.name] = decode(hints[f.name], value[f.name], f"{prefix}{f.name}")
    return kind(**arguments)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields; finding them takes longer than reading an object."""
    return typing.get_type_hints(kind, vars(sys.modules[kind.__module__]))


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


_C_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_FILE_NAME = re.compile(r"[^/\\\0]+\Z")
_LARGEST = 2**48  # more elements than an address space holds; keeps products within int64


def _check(manifest: Manifest) -> None:
    """Raise ArtifactError for values that no artifact can have."""

    def demand(condition: object, where: str, problem: str) -> None:
        if not condition:
            raise ArtifactError(f"field '{where}' is corrupt: {problem}")

    demand(_C_NAME.match(manifest.name), "name", "no C identifier")
    demand(manifest.batch.kind in BATCH_KINDS, "batch.kind", f"not one of {', '.join(BATCH_KINDS)}")
    demand(
        bool(manifest.batch.sizes) == (manifest.batch.kind == "static"),
        "batch.sizes",
        "static models alone have sizes",
    )
    demand(all(s >= 1 for s in manifest.batch.sizes), "batch.sizes", "sizes must be positive")
    demand(manifest.target.cpus, "target.cpus", "there are none")
    dispatches = len(manifest.target.cpus) > 1
    symbols = Symbols.of(
        manifest.name,
        dispatches=dispatches,
        composes=manifest.batch.is_composed,
        timed=manifest.symbols.timers is not None,
        external=manifest.weights is not None,
        tested=manifest.self_test is not None,
    )
    demand(manifest.symbols == symbols, "symbols", "not those of the name")
    demand(manifest.workspace.alignment == WORKSPACE_ALIGNMENT, "workspace.alignment", "not 64")
    for key in ("weights_bytes", "parameter_bytes", "code_bytes", "data_bytes"):
        demand(0 <= getattr(manifest, key) < _LARGEST, key, "not a size")
    size = manifest.workspace.bytes
    demand(size is None or 0 <= size < _LARGEST, "workspace.bytes", "not a size")
    grows = manifest.workspace.coefficients
    demand(
        bool(grows) == (size is None) and all(0 <= c < _LARGEST for c in grows),
        "workspace.coefficients",
        "not those of a workspace that grows",
    )
    stack = manifest.stack_bytes
    demand(stack is None or 0 <= stack < _LARGEST, "stack_bytes", "not a size")
    name = manifest.object.file
    demand(_FILE_NAME.match(name) and name not in {".", ".."}, "object.file", "no file name")
    demand(re.match(r"[0-9a-f]{64}\Z", manifest.object.sha256), "object.sha256", "no SHA-256")
    demand(manifest.outputs, "outputs", "there are none")
    if manifest.weights is not None:
        _check_weights(manifest.weights, manifest.weights_bytes, demand)
    _check_headers(manifest, demand)
    for kind, tensors in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        names = [t.name for t in tensors]
        demand(len(set(names)) == len(names), kind, "two tensors have one name")
        for i, tensor in enumerate(tensors):
            where = f"{kind}[{i}]"
            demand(_C_NAME.match(tensor.c_name), f"{where}.c_name", "no C identifier")
            demand(tensor.dtype in CTYPES, f"{where}.dtype", f"unknown type '{tensor.dtype}'")
            _check_dims(tensor.dims, f"{where}.dims", manifest.batch, kind, demand)
            if tensor.varying is not None:
                demand(kind == "outputs", f"{where}.varying", "an input's size varies")
                _check_varying(tensor.varying, f"{where}.varying", tensors[i : i + 2], demand)


def _check_weights(weights: ExternalWeights, blob_bytes: int, demand: Any) -> None:
    inside = _FILE_NAME.match(weights.file) and weights.file not in {".", ".."}
    demand(inside, "weights.file", "no file name")
    demand(weights.bytes == file_bytes(blob_bytes), "weights.bytes", "not that of the weights")
    demand(re.match(r"[0-9a-f]{64}\Z", weights.structure), "weights.structure", "no SHA-256")


def _check_headers(manifest: Manifest, demand: Any) -> None:
    """The paths lead nowhere but into folders beside the manifest, and to none of its files."""
    own = {f"{manifest.name}.h", f"{manifest.name}.json", manifest.object.file}
    for i, header in enumerate(manifest.headers):
        parts = header.split("/")
        inside = all(_FILE_NAME.match(p) and p not in {".", ".."} for p in parts)
        demand(inside and header not in own, f"headers[{i}]", "no path of a further header")
    rising = tuple(sorted(set(manifest.headers)))
    demand(manifest.headers == rising, "headers", "not sorted")


def _check_varying(varying: Varying, where: str, tensors: Sequence[Tensor], demand: Any) -> None:
    """`tensors`: the output and the one that follows it."""
    axes, count = varying.axes, len(varying.axes)
    rising = axes == tuple(sorted(set(axes))) and bool(axes)
    demand(rising and axes[0] >= 0 and axes[-1] < len(tensors[0].dims), where, "no axes of it")
    follows = len(tensors) == 2 and tensors[1].name == varying.size
    demand(follows, where, "its size does not follow")
    fits = tensors[1].dtype == "s32" and tensors[1].dims == (() if count == 1 else (count,))
    demand(fits, where, "its size is not one s32 per axis")


def _check_dims(dims: tuple[Dim, ...], where: str, batch: Batch, kind: str, demand: Any) -> None:
    bound = 1
    for dim in dims:
        if isinstance(dim, AffineDim):
            demand(batch.kind != "none", where, "a model without batch axis has fixed sizes")
            demand(dim.scale, where, "scale is 0")
            bound *= abs(dim.scale) + abs(dim.offset)
        elif isinstance(dim, ListedDim):
            demand(kind == "outputs", where, "an input's size is listed")
            demand(dim.batches == batch.sizes, where, "not the batch sizes of the model")
            demand(len(dim.sizes) == len(dim.batches), where, "not one size per batch size")
            demand(all(s >= 0 for s in dim.sizes), where, "negative size")
            bound *= max(1, *dim.sizes)
        else:
            demand(dim >= 0, where, "negative size")
            bound *= max(dim, 1)
    demand(bound < _LARGEST, where, "sizes overflow")
