"""The introspection data in a loaded object, and whether it agrees with the manifest.

The structures mirror `packaging/templates/abi.h`.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from tfaot.errors import ArtifactError
from tfaot.packaging.info import ABI_VERSION, BATCH_KIND_CODES, dim_codes, listed_dims
from tfaot.packaging.manifest import Manifest, Tensor

_STRINGS = (
    "name",
    "model_version",
    "description",
    "author",
    "source_digest",
    "tfaot_version",
    "llvm_version",
    "tensorflow_version",
    "target_triple",
    "target_cpu",
    "target_features",
)
_SIZES = (
    "workspace_bytes",
    "workspace_alignment",
    "weights_bytes",
    "parameter_bytes",
    "code_bytes",
)
_MORE_SIZES = ("stack_bytes", "data_bytes")


class DimRecord(ctypes.Structure):
    """`struct tfaot_dim`."""

    _fields_ = (("scale", ctypes.c_int64), ("offset", ctypes.c_int64))


class TensorRecord(ctypes.Structure):
    """`struct tfaot_tensor_info`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("c_name", ctypes.c_char_p),
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("dims", ctypes.POINTER(DimRecord)),
    )


class ModelRecord(ctypes.Structure):
    """`struct tfaot_model_info`."""

    _fields_ = (
        ("abi_version", ctypes.c_uint32),
        ("struct_bytes", ctypes.c_uint32),
        *((name, ctypes.c_char_p) for name in _STRINGS),
        ("num_inputs", ctypes.c_int32),
        ("num_outputs", ctypes.c_int32),
        ("inputs", ctypes.POINTER(TensorRecord)),
        ("outputs", ctypes.POINTER(TensorRecord)),
        ("batch_kind", ctypes.c_int32),
        ("rows_independent", ctypes.c_int32),
        ("num_batch_sizes", ctypes.c_int64),
        ("batch_sizes", ctypes.POINTER(ctypes.c_int64)),
        *((name, ctypes.c_int64) for name in _SIZES),
        ("listed_sizes", ctypes.POINTER(ctypes.c_int64)),
        ("run", ctypes.c_void_p),
        ("workspace_bytes_for", ctypes.c_void_p),
        ("set_max_isa", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in _MORE_SIZES),
        ("weights_structure", ctypes.c_char_p),
        ("weights_file_bytes", ctypes.c_int64),
        ("attach_weights", ctypes.c_void_p),
        ("self_test_bytes", ctypes.c_int64),
        ("self_test", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class ModelInfo:
    """What `NAME_info()` returns: strings and sizes; shapes are `Model.inputs` and `outputs`."""

    abi_version: int
    strings: dict[str, str]
    sizes: dict[str, int]


def read_info(address: int, manifest: Manifest) -> ModelInfo:
    """The data that the function at `address` returns.

    Buffers are allocated by the manifest's shapes, so a manifest that differs from the object is
    an ArtifactError.
    """
    function = ctypes.CFUNCTYPE(ctypes.POINTER(ModelRecord))(address)
    record = function().contents
    if record.abi_version != ABI_VERSION or record.struct_bytes < ctypes.sizeof(ModelRecord):
        raise ArtifactError(
            f"the object has ABI version {record.abi_version}, this tfaot reads {ABI_VERSION}: "
            "compile the model again"
        )
    strings = {key: getattr(record, key).decode("utf-8", "replace") for key in _STRINGS}
    sizes = {key: int(getattr(record, key)) for key in (*_SIZES, *_MORE_SIZES)}
    weights = manifest.weights
    sizes_wanted = {
        "workspace_bytes": -1 if manifest.workspace.bytes is None else manifest.workspace.bytes,
        "workspace_alignment": manifest.workspace.alignment,
        "weights_bytes": manifest.weights_bytes,
        "parameter_bytes": manifest.parameter_bytes,
        "code_bytes": manifest.code_bytes,
        "stack_bytes": -1 if manifest.stack_bytes is None else manifest.stack_bytes,
        "data_bytes": manifest.data_bytes,
    }
    same = (
        strings["name"] == manifest.name
        and sizes == sizes_wanted
        and record.batch_kind == BATCH_KIND_CODES[manifest.batch.kind]
        and bool(record.rows_independent) == manifest.batch.rows_independent
        and tuple(record.batch_sizes[: record.num_batch_sizes]) == manifest.batch.sizes
        and _same_tensors(record.inputs, record.num_inputs, manifest, manifest.inputs)
        and _same_tensors(record.outputs, record.num_outputs, manifest, manifest.outputs)
        and _same_listed(record, manifest)
        and record.weights_structure == (weights.structure.encode() if weights else b"")
        and record.weights_file_bytes == (weights.bytes if weights else 0)
    )
    if not same:
        raise ArtifactError(
            f"manifest and object of '{manifest.name}' disagree: compile the model again"
        )
    return ModelInfo(int(record.abi_version), strings, sizes)


def _same_tensors(
    records: ctypes._Pointer[TensorRecord],
    count: int,
    manifest: Manifest,
    tensors: tuple[Tensor, ...],
) -> bool:
    if count != len(tensors):
        return False
    for i, tensor in enumerate(tensors):
        record = records[i]
        dims = [(d.scale, d.offset) for d in record.dims[: record.rank]]
        wanted = dim_codes(manifest, tensor)
        if record.name != tensor.name.replace("\0", "").encode("utf-8") or dims != wanted:
            return False
        if record.dtype != tensor.ctype.code:
            return False
    return True


def _same_listed(record: ModelRecord, manifest: Manifest) -> bool:
    wanted = [size for dim in listed_dims(manifest) for size in dim.sizes]
    return list(record.listed_sizes[: len(wanted)]) == wanted if wanted else True
