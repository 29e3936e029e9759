"""The header NAME.h: C prototypes, and a C++ class over them.

Input: a manifest. Output: text that compiles as C11 and C++17 without a warning, and needs no
other file: the ABI types are part of it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from tfaot.packaging.manifest import Dim, ListedDim, Manifest, Tensor

if TYPE_CHECKING:
    import jinja2

# Names inside the generated class, which the class itself therefore can't have.
_MEMBERS = frozenset(
    """
    name num_inputs num_outputs input_names output_names input_dtypes output_dtypes weights_bytes
    code_bytes data_bytes stack_bytes
    rows_independent max_batch workspace_is_constant workspace workspace_bytes info run run_or_throw
    small_stack_bytes batch_rules rules parts count isa set_max_isa isa_status apply_max_isa
    evaluate status self_test weights_file weights_file_bytes attach_weights map_weights
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class _TensorText:
    """A tensor as the template prints it."""

    tensor: Tensor

    @property
    def c_name(self) -> str:
        return self.tensor.c_name

    @property
    def c(self) -> str:
        return self.tensor.ctype.c

    @property
    def enum(self) -> str:
        return self.tensor.ctype.enum

    @property
    def dtype(self) -> str:
        return self.tensor.dtype

    @property
    def literal(self) -> str:
        return c_string(self.tensor.name)

    @property
    def comment_name(self) -> str:
        return comment(f"'{self.tensor.name}'")

    @property
    def rank(self) -> int:
        return len(self.tensor.dims)

    @property
    def is_static(self) -> bool:
        return all(isinstance(d, int) for d in self.tensor.dims)

    @property
    def dims(self) -> list[str]:
        return [_dim(d, "batch") for d in self.tensor.dims]

    @property
    def dims_text(self) -> str:
        return "".join(f"[{_dim_text(d)}]" for d in self.tensor.dims) or "[1]"

    def note(self, by_name: Mapping[str, _TensorText]) -> str:
        """What a caller must know besides type and shape, empty where nothing."""
        varying = self.tensor.varying
        if varying is None:
            return ""
        size = by_name[varying.size].c_name
        axes = varying.axes
        counts = [f"*{size}"] if len(axes) == 1 else [f"{size}[{n}]" for n in range(len(axes))]
        there = " and ".join(f"{c} along axis {a}" for c, a in zip(counts, axes, strict=True))
        return f"; the first {there} are there, the rest is 0"

    @property
    def size(self) -> str:
        factors = [_dim(d, "batch", in_product=True) for d in self.tensor.dims]
        if self.is_static:
            product = 1
            for dim in self.tensor.dims:
                assert isinstance(dim, int)
                product *= dim
            return str(product)
        return " * ".join(f for f in factors if f != "1")

    @property
    def size_macro(self) -> str:
        if self.is_static:
            return f"((int64_t){self.size})"
        return "(" + re.sub(r"\bbatch\b", "(int64_t)(batch)", self.size) + ")"

    @property
    def size_call(self) -> str:
        return f"size_{self.c_name}({'' if self.is_static else 'batch'})"


def _dim(dim: Dim, batch: str, in_product: bool = False) -> str:
    """A dimension as a C expression."""
    if isinstance(dim, int):
        return str(dim)
    if isinstance(dim, ListedDim):
        choice = "0"
        for size, elements in zip(reversed(dim.batches), reversed(dim.sizes), strict=True):
            choice = f"{batch} == {size} ? {elements} : {choice}"
        return f"({choice})"
    head = batch if dim.scale == 1 else f"{dim.scale} * {batch}"
    if dim.offset == 0:
        return head
    text = f"{head} {'+' if dim.offset > 0 else '-'} {abs(dim.offset)}"
    return f"({text})" if in_product else text


def _dim_text(dim: Dim) -> str:
    """A dimension as comments show it."""
    if isinstance(dim, ListedDim):
        return " or ".join(map(str, dim.sizes))
    return _dim(dim, "batch")


def c_string(text: str) -> str:
    """A C string literal with the UTF-8 bytes of `text`."""
    parts = []
    for byte in text.encode("utf-8"):
        character = chr(byte)
        if character in '"\\?':  # ? could begin a trigraph
            parts.append("\\" + character)
        else:
            parts.append(character if 32 <= byte < 127 else f"\\{byte:03o}")
    return '"' + "".join(parts) + '"'


def comment(text: str) -> str:
    """`text` on one line, with nothing in it that begins or ends a comment."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")


def class_name(manifest: Manifest) -> str:
    """The name of the generated C++ class."""
    members = {f"{kind}_{t.c_name}" for t in manifest.tensors for kind in ("type", "shape", "size")}
    clashes = manifest.name in _MEMBERS or manifest.name in members
    return f"{manifest.name}_model" if clashes else manifest.name


def header_text(manifest: Manifest) -> str:
    """The text of NAME.h."""
    inputs = [_TensorText(t) for t in manifest.inputs]
    outputs = [_TensorText(t) for t in manifest.outputs]
    tensors = [*inputs, *outputs]
    by_name = {t.tensor.name: t for t in outputs}
    size = manifest.workspace.bytes
    target = f"{manifest.target.triple}, {manifest.target.cpu}"
    version = manifest.versions.get("tfaot", "")
    pointers = [f"const {t.c} *{t.c_name}" for t in inputs]
    pointers += [f"{t.c} *{t.c_name}" for t in outputs]
    vectors = [f"const std::vector<{t.c}> &{t.c_name}" for t in inputs]
    vectors += [f"std::vector<{t.c}> &{t.c_name}" for t in outputs]
    spans = [f"std::span<const {t.c}> {t.c_name}" for t in inputs]
    spans += [f"std::span<{t.c}> {t.c_name}" for t in outputs]
    data = [f"::tfaot_detail::address({t.c_name}.data())" for t in tensors]
    batch = "std::int64_t batch"
    weights = manifest.weights
    templates = resources.files(__package__) / "templates"
    return _template().render(
        name=manifest.name,
        class_name=class_name(manifest),
        name_literal=c_string(manifest.name),
        namespace=manifest.namespace,
        symbols=manifest.symbols,
        object_file=comment(manifest.object.file),
        levels=comment(manifest.target.cpu),
        abi=(templates / "abi.h").read_text("utf-8"),
        versions=f" {comment(version)}" if version else "",
        target=comment(target),
        description=_description(manifest),
        inputs=inputs,
        outputs=outputs,
        notes={t.c_name: t.note(by_name) for t in outputs},
        tensors=tensors,
        batch_text=_batch_text(manifest),
        batch_enum=f"TFAOT_BATCH_{manifest.batch.kind.upper()}",
        batch_sizes=manifest.batch.sizes,
        max_batch=min((_max_batch(t) for t in manifest.tensors), default=2**62),
        batch_argument=_batch_argument(manifest),
        rows_independent=int(manifest.batch.rows_independent),
        weights_bytes=manifest.weights_bytes,
        code_bytes=manifest.code_bytes,
        data_bytes=manifest.data_bytes,
        stack_bytes=manifest.stack_bytes,
        weights_file=comment(weights.file) if weights else "",
        weights_literal=c_string(weights.file) if weights else "",
        weights_file_bytes=weights.bytes if weights else 0,
        self_test_bytes=manifest.self_test.workspace_bytes if manifest.self_test else 0,
        map_weights=(templates / "map_weights.h").read_text("utf-8"),
        workspace_bytes=size,
        workspace_alignment=manifest.workspace.alignment,
        workspace_text=(
            f"the workspace of a call {size} bytes."
            if size is not None
            else "the workspace of a call grows with the batch size."
        ),
        workspace_argument=(
            f"{manifest.name.upper()}_WORKSPACE_BYTES"
            if size is not None
            else f"{manifest.symbols.workspace_bytes}(batch)"
        )
        + f" bytes, aligned to {manifest.workspace.alignment}; contents don't matter",
        pointer_parameters=", ".join([batch, *pointers]),
        vector_parameters=", ".join([batch, *vectors]),
        span_parameters=", ".join([batch, *spans]),
        arguments=", ".join(["batch", *(t.c_name for t in tensors)]),
        tensor_arguments=", ".join(t.c_name for t in tensors),
        has_batch=manifest.batch.kind != "none",
        pass_data=", ".join(["batch", *data]),
    )


def _max_batch(tensor: Tensor) -> int:
    """The largest batch size for which the tensor's bytes are sure to fit into 63 bits."""
    bound, symbolic = tensor.ctype.size, 0
    for dim in tensor.dims:
        if isinstance(dim, int):
            bound *= max(dim, 1)
        elif isinstance(dim, ListedDim):
            bound *= max(1, *dim.sizes)
        else:
            bound *= abs(dim.scale) + abs(dim.offset)
            symbolic += 1
    limit = 2**62 // bound
    return limit if symbolic <= 1 else int(limit ** (1 / symbolic) * 0.99)


@functools.cache
def _template() -> jinja2.Template:
    text = (resources.files(__package__) / "templates" / "model.h.j2").read_text("utf-8")
    return template_environment().from_string(text)


def template_environment() -> jinja2.Environment:
    """How the templates of headers are read."""
    import jinja2  # here, so that loading an artifact does not import it

    return jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )


def _description(manifest: Manifest) -> list[str]:
    source = manifest.source
    lines = [source.description, source.author and f"Author: {source.author}"]
    lines.append(source.version and f"Version: {source.version}")
    return [comment(line) for line in lines if line]


def _batch_text(manifest: Manifest) -> list[str]:
    batch = manifest.batch
    if batch.kind == "none":
        return ["The model has no batch axis."]
    sizes = ", ".join(map(str, batch.sizes))
    if batch.kind == "symbolic":
        lines = ["Any batch size of 0 or more."]
    elif batch.rows_independent:
        lines = [f"Any batch size of 0 or more, composed of the sizes {sizes}."]
    else:
        lines = [f"Batch sizes {sizes} alone."]
    if batch.rows_independent:
        lines.append("A row's result is bitwise the same whatever the batch around it.")
    if batch.reason:
        lines.append(comment(batch.reason))
    return lines


def _batch_argument(manifest: Manifest) -> str:
    if manifest.batch.kind == "none":
        return "ignored (no batch axis), not negative: pass 1"
    if manifest.batch.kind == "static" and not manifest.batch.rows_independent:
        return f"the number of rows, one of {', '.join(map(str, manifest.batch.sizes))}"
    return "the number of rows, 0 or more"
