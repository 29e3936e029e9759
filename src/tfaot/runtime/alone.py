"""What an object says of itself, for loading it without its manifest.

Input: an object in this process's memory. Output: a manifest with all that a call needs, from the
object's symbols and the data that its NAME_info returns.
"""

from __future__ import annotations

import ctypes
import hashlib
from pathlib import Path

from tfaot.errors import ArtifactError
from tfaot.packaging.dtypes import CTYPES
from tfaot.packaging.external import ExternalWeights
from tfaot.packaging.info import ABI_VERSION, BATCH_KIND_CODES
from tfaot.packaging.manifest import (
    AffineDim,
    Batch,
    Dim,
    ListedDim,
    Manifest,
    ObjectFile,
    SelfTest,
    Source,
    Symbols,
    Target,
    Tensor,
    Workspace,
)
from tfaot.runtime.elf import LoadedObject
from tfaot.runtime.info import ModelRecord, TensorRecord
from tfaot.weights_file import SUFFIX

_KINDS = {code: kind for kind, code in BATCH_KIND_CODES.items()}
_DTYPES = {ctype.code: name for name, ctype in CTYPES.items()}


def describe_object(path: Path, loaded: LoadedObject) -> Manifest:
    """The manifest of an object, as far as the object knows it.

    Raises:
        ArtifactError: the object is of no model, of several, or of another ABI version.
    """
    name = _model_name(path, loaded)
    function = ctypes.CFUNCTYPE(ctypes.POINTER(ModelRecord))(loaded.address(f"{name}_info"))
    record = function().contents
    if record.abi_version != ABI_VERSION:
        raise ArtifactError(
            f"object '{path}' has ABI version {record.abi_version}, this tfaot reads "
            f"{ABI_VERSION}: compile the model again"
        )
    sizes = tuple(record.batch_sizes[: record.num_batch_sizes])
    batch = Batch(_KINDS[record.batch_kind], sizes, bool(record.rows_independent))
    cpus = tuple(_text(record.target_cpu).split(", "))
    features = _text(record.target_features)
    structure = _text(record.weights_structure)
    listed = [
        ListedDim(sizes, tuple(record.listed_sizes[row * len(sizes) : (row + 1) * len(sizes)]))
        for row in range(_rows_listed(record))
    ]
    versions = ("tfaot", "llvm", "tensorflow")
    return Manifest(
        name=name,
        inputs=_tensors(record.inputs, record.num_inputs, listed),
        outputs=_tensors(record.outputs, record.num_outputs, listed),
        batch=batch,
        workspace=Workspace(None if record.workspace_bytes < 0 else record.workspace_bytes),
        weights_bytes=record.weights_bytes,
        parameter_bytes=record.parameter_bytes,
        code_bytes=record.code_bytes,
        data_bytes=record.data_bytes,
        stack_bytes=None if record.stack_bytes < 0 else record.stack_bytes,
        target=Target(
            _text(record.target_triple), cpus, tuple(features.split(",")) if features else ()
        ),
        object=ObjectFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest()),
        symbols=Symbols.of(
            name,
            dispatches=len(cpus) > 1,
            composes=batch.is_composed,
            external=bool(structure),
            tested=record.self_test_bytes > 0,
        ),
        self_test=SelfTest(1, record.self_test_bytes) if record.self_test_bytes else None,
        source=Source(
            "object",
            _text(record.source_digest),
            version=_text(record.model_version) or None,
            description=_text(record.description) or None,
            author=_text(record.author) or None,
        ),
        weights=(
            ExternalWeights(f"{name}{SUFFIX}", record.weights_file_bytes, structure)
            if structure
            else None
        ),
        versions={
            tool: text for tool in versions if (text := _text(getattr(record, f"{tool}_version")))
        },
    )


def _model_name(path: Path, loaded: LoadedObject) -> str:
    endings = ("_run", "_workspace_bytes", "_info")
    names = [
        function.removesuffix(endings[0])
        for function in loaded.functions
        if function.endswith(endings[0])
    ]
    found = sorted(n for n in names if all(f"{n}{e}" in loaded.functions for e in endings))
    if len(found) == 1:
        return found[0]
    if found:
        raise ArtifactError(f"object '{path}' holds several models: {', '.join(found)}")
    raise ArtifactError(f"object '{path}' holds no model of tfaot's")


def _tensors(
    records: ctypes._Pointer[TensorRecord], count: int, listed: list[ListedDim]
) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            _text(record.name),
            _text(record.c_name),
            _DTYPES[record.dtype],
            tuple(_dim(d.scale, d.offset, listed) for d in record.dims[: record.rank]),
        )
        for record in records[:count]
    )


def _dim(scale: int, offset: int, listed: list[ListedDim]) -> Dim:
    if scale:
        return AffineDim(scale, offset)
    return listed[-1 - offset] if offset < 0 else offset


def _rows_listed(record: ModelRecord) -> int:
    """How many dimensions have their sizes listed: the furthest that any refers to."""
    offsets: list[int] = [
        dim.offset
        for records, count in (
            (record.inputs, record.num_inputs),
            (record.outputs, record.num_outputs),
        )
        for tensor in records[:count]
        for dim in tensor.dims[: tensor.rank]
        if dim.scale == 0
    ]
    return max([0, *(-offset for offset in offsets)])


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
