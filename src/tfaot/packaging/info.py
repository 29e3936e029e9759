"""LLVM IR of an artifact's introspection data: NAME_info and the constants it returns.

Input: a manifest. Output: IR text whose layout is that of `struct tfaot_model_info` in
`templates/abi.h`; the tests compare the two through a C program. It also points to functions that
take tensors as arrays of pointers, for programs that learn at run time how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfaot.packaging.manifest import ListedDim, Manifest, Tensor

ABI_VERSION = 3
BATCH_KIND_CODES = {"none": 0, "static": 1, "symbolic": 2}

_DIM = "{ i64, i64 }"
_TENSOR = "{ ptr, ptr, i32, i32, ptr }"
# Order and types of struct tfaot_model_info.
_MODEL_FIELDS = (
    ["i32"] * 2
    + ["ptr"] * 11
    + ["i32"] * 2
    + ["ptr"] * 2
    + ["i32"] * 2
    + ["i64", "ptr"]
    + ["i64"] * 5
    + ["ptr"]
    + ["ptr"] * 3
    + ["i64"] * 2
    + ["ptr", "i64", "ptr"]
    + ["i64", "ptr"]
)
_FIELD_BYTES = {"i32": 4, "i64": 8, "ptr": 8}
MODEL_INFO_BYTES = sum(_FIELD_BYTES[f] for f in _MODEL_FIELDS)
_NULL_POINTER = 2  # enum tfaot_status
CODE_BYTES_MARKER = 0x7C0DEB17E57FA07
STACK_BYTES_MARKER = 0x75AC4B17E57FA07
DATA_BYTES_MARKER = 0x7DA7AB17E57FA07
"""What stands for the numbers of bytes of code, stack and data until the object exists."""


def record_symbol(name: str) -> str:
    """The local symbol of the model's `struct tfaot_model_info`."""
    return f"{name}_info_record"


def run_symbol(name: str) -> str:
    """The local function that `tfaot_model_info.run` points to; it calls NAME_run."""
    return f"{name}_info.run"


def info_ir(manifest: Manifest) -> str:
    """IR text (opaque pointers) that defines `@NAME_info`; nothing else in it is global.

    `code_bytes`, `stack_bytes` and `data_bytes` are known only once the object exists: markers
    stand for them.
    """
    return _InfoWriter(manifest).text()


class _InfoWriter:
    """Collects the private constants of one model."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._prefix = manifest.name
        self._lines: list[str] = []
        self._strings: dict[str, str] = {}

    def text(self) -> str:
        m = self._manifest
        versions, source = m.versions, m.source
        listed = listed_dims(m)
        strings = (
            m.name,
            source.version or "",
            source.description or "",
            source.author or "",
            source.digest,
            versions.get("tfaot", ""),
            versions.get("llvm", ""),
            versions.get("tensorflow", ""),
            m.target.triple,
            m.target.cpu,
            ",".join(m.target.features),
        )
        values = [
            str(ABI_VERSION),
            str(MODEL_INFO_BYTES),
            *(self._string(s) for s in strings),
            str(len(m.inputs)),
            str(len(m.outputs)),
            self._tensors(m.inputs, "inputs"),
            self._tensors(m.outputs, "outputs"),
            str(BATCH_KIND_CODES[m.batch.kind]),
            str(int(m.batch.rows_independent)),
            str(len(m.batch.sizes)),
            self._array("batch_sizes", "i64", [f"i64 {s}" for s in m.batch.sizes]),
            str(-1 if m.workspace.bytes is None else m.workspace.bytes),
            str(m.workspace.alignment),
            str(m.weights_bytes),
            str(m.parameter_bytes),
            str(CODE_BYTES_MARKER),
            self._array("listed_sizes", "i64", [f"i64 {s}" for d in listed for s in d.sizes]),
            self._run(),
            self._forward("workspace_bytes_for", "i64", ["i64"], m.symbols.workspace_bytes),
            self._forward("set_max_isa", "i32", ["i32"], m.symbols.set_max_isa),
            str(STACK_BYTES_MARKER),
            str(DATA_BYTES_MARKER),
            self._string(m.weights.structure if m.weights is not None else ""),
            str(m.weights.bytes if m.weights is not None else 0),
            self._forward("attach_weights", "i32", ["ptr", "i64"], m.symbols.attach_weights),
            str(m.self_test.workspace_bytes if m.self_test is not None else 0),
            self._forward("self_test", "i32", ["ptr"], m.symbols.self_test),
        ]
        fields = ", ".join(f"{t} {v}" for t, v in zip(_MODEL_FIELDS, values, strict=True))
        record = f"@{record_symbol(m.name)}"
        self._lines.append(
            f"{record} = internal constant {{ {', '.join(_MODEL_FIELDS)} }} {{ {fields} }}, align 8"
        )
        self._lines.append(
            f"define protected noundef nonnull ptr @{m.symbols.info}() "
            "mustprogress nofree norecurse nosync nounwind willreturn memory(none) "
            f"{{\n  ret ptr {record}\n}}"
        )
        return "\n".join(self._lines) + "\n"

    def _string(self, value: str) -> str:
        if value not in self._strings:
            symbol = f"@{self._prefix}_info.s{len(self._strings)}"
            data = value.encode("utf-8").replace(b"\0", b"") + b"\0"
            plain = "".join(
                chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in data
            )
            self._lines.append(
                f'{symbol} = private unnamed_addr constant [{len(data)} x i8] c"{plain}", align 1'
            )
            self._strings[value] = symbol
        return self._strings[value]

    def _array(self, key: str, kind: str, values: Sequence[str]) -> str:
        if not values:
            return "null"
        symbol = f"@{self._prefix}_info.{key}"
        self._lines.append(
            f"{symbol} = private constant [{len(values)} x {kind}] [ {', '.join(values)} ], align 8"
        )
        return symbol

    def _run(self) -> str:
        """NAME_run with its pointers from two arrays."""
        m, symbol = self._manifest, f"@{run_symbol(self._prefix)}"
        lines = [
            f"define internal i32 {symbol}(i64 %batch, ptr %inputs, ptr %outputs, ptr %workspace) "
            "nounwind {",
            "start:",
        ]
        arguments = ["i64 %batch"]
        label = "start"
        for key, count in (("inputs", len(m.inputs)), ("outputs", len(m.outputs))):
            if count == 0:  # the array may be NULL then
                continue
            label = f"{key}.there"
            lines += [
                f"  %{key}.none = icmp eq ptr %{key}, null",
                f"  br i1 %{key}.none, label %none, label %{label}",
                f"{label}:",
            ]
            for i in range(count):
                lines += [
                    f"  %{key}.{i}.at = getelementptr ptr, ptr %{key}, i64 {i}",
                    f"  %{key}.{i} = load ptr, ptr %{key}.{i}.at, align 8",
                ]
                arguments.append(f"ptr %{key}.{i}")
        arguments.append("ptr %workspace")
        lines += [
            f"  %status = call i32 @{m.symbols.run}({', '.join(arguments)})",
            "  ret i32 %status",
        ]
        if label != "start":
            lines += ["none:", f"  ret i32 {_NULL_POINTER}"]
        self._lines.append("\n".join([*lines, "}"]))
        return symbol

    def _forward(
        self, field: str, result: str, arguments: Sequence[str], function: str | None
    ) -> str:
        """A local function that calls a global one.

        A pointer to the global one itself could be bound to another library's of the same name.
        """
        if function is None:
            return "null"
        symbol = f"@{self._prefix}_info.{field}"
        given = ", ".join(f"{kind} %x{n}" for n, kind in enumerate(arguments))
        self._lines.append(
            f"define internal {result} {symbol}({given}) nounwind {{\n"
            f"  %y = call {result} @{function}({given})\n  ret {result} %y\n}}"
        )
        return symbol

    def _tensors(self, tensors: Sequence[Tensor], key: str) -> str:
        values = []
        for i, tensor in enumerate(tensors):
            dims = [f"{_DIM} {{ i64 {s}, i64 {o} }}" for s, o in dim_codes(self._manifest, tensor)]
            fields = (
                f"ptr {self._string(tensor.name)}, ptr {self._string(tensor.c_name)}, "
                f"i32 {tensor.ctype.code}, i32 {len(dims)}, "
                f"ptr {self._array(f'{key}.{i}', _DIM, dims)}"
            )
            values.append(f"{_TENSOR} {{ {fields} }}")
        return self._array(key, _TENSOR, values)


def listed_dims(manifest: Manifest) -> list[ListedDim]:
    """The dimensions without a rule, in the order of the rows of `listed_sizes`."""
    dims = (d for t in manifest.tensors for d in t.dims if isinstance(d, ListedDim))
    return list(dict.fromkeys(dims))


def dim_codes(manifest: Manifest, tensor: Tensor) -> list[tuple[int, int]]:
    """Scale and offset of each dimension, as `struct tfaot_dim` holds them."""
    listed = listed_dims(manifest)
    codes = []
    for dim in tensor.dims:
        if isinstance(dim, ListedDim):
            codes.append((0, -1 - listed.index(dim)))
        else:
            codes.append((0, dim) if isinstance(dim, int) else (dim.scale, dim.offset))
    return codes
