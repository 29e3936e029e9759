"""Printer of modules as HLO text that `ir.text` reads back.

Input: a module. Output: text, the same for the same module. Shapes are row-major, so no layouts
are printed; dimensions that depend on the batch print as `B`, `2B+3`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tfaot.ir import attributes as ir
from tfaot.ir.dtypes import DType
from tfaot.ir.inference.registry import braces
from tfaot.ir.lexer import escape
from tfaot.ir.literals import format_literal
from tfaot.ir.module import Computation, Instruction, Module
from tfaot.ir.shapes import Shape

_Names = dict[int, str]


def print_module(module: Module, max_constant: int | None = None) -> str:
    """`module` as HLO text.

    Args:
        module: the module.
        max_constant: elements above which a constant is shown as `{...}`, for reading by people;
            None prints all values in full (shortest digits that give the same bits).
    """
    computations = module.computations()
    names = _computation_names(computations)
    header = f"HloModule {module.name}"
    if module.metadata:
        pairs = (f"{k}={escape(v.encode())}" for k, v in sorted(module.metadata.items()))
        header += f", frontend_attributes={{{','.join(pairs)}}}"
    blocks = [_computation(c, c is module.entry, names, max_constant) for c in computations]
    return "\n\n".join([header, *blocks]) + "\n"


def _computation_names(computations: Iterable[Computation]) -> _Names:
    names: _Names = {}
    used: set[str] = set()
    for computation in computations:
        name, count = computation.name, 0
        while name in used:
            count += 1
            name = f"{computation.name}.{count}"
        used.add(name)
        names[id(computation)] = name
    return names


def _computation(
    computation: Computation, is_entry: bool, names: _Names, max_constant: int | None
) -> str:
    parameters = ", ".join(f"{p.name}: {p.shape}" for p in computation.parameters)
    head = f"%{names[id(computation)]} ({parameters}) -> {computation.root.shape} {{"
    lines = [("ENTRY " if is_entry else "") + head]
    for instruction in computation.instructions:
        root = "ROOT " if instruction is computation.root else ""
        lines.append(f"  {root}{_instruction(instruction, names, max_constant)}")
    return "\n".join([*lines, "}"])


def _instruction(instruction: Instruction, names: _Names, max_constant: int | None) -> str:
    operands = ", ".join(f"%{o.name}" for o in instruction.operands)
    attrs = instruction.attrs
    parts: list[str] = []
    if isinstance(attrs, ir.Constant):
        elided = max_constant is not None and attrs.value.size > max_constant
        operands = "{...}" if elided else format_literal(attrs.value)
    elif isinstance(attrs, ir.Parameter):
        operands = str(attrs.number)
    elif attrs is not None:
        parts = _PRINTERS[type(attrs)](attrs, lambda c: f"%{names[id(c)]}")
    if isinstance(attrs, ir.Compare) and attrs.order == _usual_order(instruction):
        parts = parts[:1]
    if isinstance(attrs, ir.Conditional) and _takes_predicate(instruction):
        # As XLA reads it: branches by number are for integers alone.
        roles = ("true_computation", "false_computation")
        parts = [f"{r}=%{names[id(c)]}" for r, c in zip(roles, attrs.branches, strict=True)]
    if instruction.opcode == "fusion":
        parts = ["kind=kLoop", *(p.replace("to_apply=", "calls=", 1) for p in parts)]
    meta = instruction.metadata
    if meta.op_type or meta.op_name:
        pairs = (("op_type", meta.op_type), ("op_name", meta.op_name))
        inner = " ".join(f"{k}={escape(v.encode())}" for k, v in pairs if v)
        parts.append(f"metadata={{{inner}}}")
    head = f"%{instruction.name} = {instruction.shape} {instruction.opcode}({operands})"
    return ", ".join([head, *parts])


def _takes_predicate(conditional: Instruction) -> bool:
    shape = conditional.operands[0].shape
    return isinstance(shape, Shape) and shape.dtype is DType.PRED


def _usual_order(instruction: Instruction) -> str:
    shape = instruction.operands[0].shape
    dtype = shape.dtype if isinstance(shape, Shape) else DType.PRED
    if dtype.is_float or dtype.is_complex:
        return "FLOAT"
    return "SIGNED" if dtype.is_signed else "UNSIGNED"


_Reference = Callable[[Computation], str]
_Printer = Callable[[Any, _Reference], list[str]]
_PRINTERS: dict[type, _Printer] = {}


def _prints(kind: type) -> Callable[[_Printer], _Printer]:
    def register(printer: _Printer) -> _Printer:
        _PRINTERS[kind] = printer
        return printer

    return register


def _flags(**flags: bool) -> list[str]:
    return [f"{name}=true" for name, value in flags.items() if value]


def _lists(**lists: tuple[object, ...]) -> list[str]:
    """The lists that are not empty."""
    return [f"{name}={braces(values)}" for name, values in lists.items() if values]


@_prints(ir.GetTupleElement)
def _get_tuple_element(a: ir.GetTupleElement, _: _Reference) -> list[str]:
    return [f"index={a.index}"]


@_prints(ir.Broadcast)
def _broadcast(a: ir.Broadcast, _: _Reference) -> list[str]:
    return [f"dimensions={braces(a.dimensions)}"]


@_prints(ir.Transpose)
def _transpose(a: ir.Transpose, _: _Reference) -> list[str]:
    return [f"dimensions={braces(a.permutation)}"]


@_prints(ir.Slice)
def _slice(a: ir.Slice, _: _Reference) -> list[str]:
    ranges = (
        f"[{start}:{limit}]" if stride == 1 else f"[{start}:{limit}:{stride}]"
        for start, limit, stride in zip(a.starts, a.limits, a.strides, strict=True)
    )
    return [f"slice={{{', '.join(ranges)}}}"]


@_prints(ir.DynamicSlice)
def _dynamic_slice(a: ir.DynamicSlice, _: _Reference) -> list[str]:
    return [f"dynamic_slice_sizes={braces(a.sizes)}"]


@_prints(ir.Concatenate)
def _concatenate(a: ir.Concatenate, _: _Reference) -> list[str]:
    return [f"dimensions={{{a.dimension}}}"]


@_prints(ir.Pad)
def _pad(a: ir.Pad, _: _Reference) -> list[str]:
    parts = (
        f"{low}_{high}_{interior}" if interior else f"{low}_{high}"
        for low, high, interior in zip(a.low, a.high, a.interior, strict=True)
    )
    text = "x".join(parts)
    return [f"padding={text}"] if text else []


@_prints(ir.Iota)
def _iota(a: ir.Iota, _: _Reference) -> list[str]:
    return [f"iota_dimension={a.dimension}"]


@_prints(ir.Reverse)
def _reverse(a: ir.Reverse, _: _Reference) -> list[str]:
    return [f"dimensions={braces(a.dimensions)}"]


@_prints(ir.Compare)
def _compare(a: ir.Compare, _: _Reference) -> list[str]:
    return [f"direction={a.direction}", f"type={a.order}"]


@_prints(ir.Reduce)
def _reduce(a: ir.Reduce, ref: _Reference) -> list[str]:
    return [f"dimensions={braces(a.dimensions)}", f"to_apply={ref(a.to_apply)}"]


@_prints(ir.Dot)
def _dot(a: ir.Dot, _: _Reference) -> list[str]:
    return _lists(
        lhs_batch_dims=a.lhs_batch,
        lhs_contracting_dims=a.lhs_contracting,
        rhs_batch_dims=a.rhs_batch,
        rhs_contracting_dims=a.rhs_contracting,
    )


@_prints(ir.Gather)
def _gather(a: ir.Gather, _: _Reference) -> list[str]:
    return [
        f"offset_dims={braces(a.offset_dims)}",
        f"collapsed_slice_dims={braces(a.collapsed_slice_dims)}",
        f"start_index_map={braces(a.start_index_map)}",
        *_lists(
            operand_batching_dims=a.operand_batching_dims,
            start_indices_batching_dims=a.start_indices_batching_dims,
        ),
        f"index_vector_dim={a.index_vector_dim}",
        f"slice_sizes={braces(a.slice_sizes)}",
        *_flags(indices_are_sorted=a.indices_are_sorted),
    ]


@_prints(ir.Scatter)
def _scatter(a: ir.Scatter, ref: _Reference) -> list[str]:
    return [
        f"update_window_dims={braces(a.update_window_dims)}",
        f"inserted_window_dims={braces(a.inserted_window_dims)}",
        f"scatter_dims_to_operand_dims={braces(a.scatter_dims_to_operand_dims)}",
        *_lists(
            input_batching_dims=a.input_batching_dims,
            scatter_indices_batching_dims=a.scatter_indices_batching_dims,
        ),
        f"index_vector_dim={a.index_vector_dim}",
        *_flags(indices_are_sorted=a.indices_are_sorted, unique_indices=a.unique_indices),
        f"to_apply={ref(a.to_apply)}",
    ]


def _window(window: tuple[ir.WindowDimension, ...]) -> list[str]:
    """The window, fields that have their defaults everywhere left out."""
    if not window:
        return []
    fields = {
        "size": [str(w.size) for w in window],
        "stride": [str(w.stride) for w in window],
        "pad": [f"{w.padding_low}_{w.padding_high}" for w in window],
        "lhs_dilate": [str(w.base_dilation) for w in window],
        "rhs_dilate": [str(w.window_dilation) for w in window],
        "rhs_reversal": [str(int(w.reversal)) for w in window],
    }
    defaults = {"size": "", "pad": "0_0", "rhs_reversal": "0"}
    shown = (
        f"{name}={'x'.join(values)}"
        for name, values in fields.items()
        if any(v != defaults.get(name, "1") for v in values)
    )
    return [f"window={{{' '.join(shown)}}}"]


@_prints(ir.ReduceWindow)
def _reduce_window(a: ir.ReduceWindow, ref: _Reference) -> list[str]:
    return [*_window(a.window), f"to_apply={ref(a.to_apply)}"]


@_prints(ir.SelectAndScatter)
def _select_and_scatter(a: ir.SelectAndScatter, ref: _Reference) -> list[str]:
    return [*_window(a.window), f"select={ref(a.select)}", f"scatter={ref(a.scatter)}"]


def _labels(leading: str, first: int, second: int, spatial: tuple[int, ...]) -> str:
    labels = {first: leading[0], second: leading[1]}
    labels.update({axis: str(i) for i, axis in enumerate(spatial)})
    return "".join(labels[axis] for axis in sorted(labels))


@_prints(ir.Convolution)
def _convolution(a: ir.Convolution, _: _Reference) -> list[str]:
    data = _labels("bf", a.input_batch, a.input_feature, a.input_spatial)
    kernel = _labels("io", a.kernel_input_feature, a.kernel_output_feature, a.kernel_spatial)
    output = _labels("bf", a.output_batch, a.output_feature, a.output_spatial)
    counts = {
        "feature_group_count": a.feature_group_count,
        "batch_group_count": a.batch_group_count,
    }
    return [
        *_window(a.window),
        f"dim_labels={data}_{kernel}->{output}",
        *(f"{name}={count}" for name, count in counts.items() if count != 1),
    ]


@_prints(ir.Call)
def _call(a: ir.Call, ref: _Reference) -> list[str]:
    return [f"to_apply={ref(a.to_apply)}"]


@_prints(ir.While)
def _while(a: ir.While, ref: _Reference) -> list[str]:
    return [f"condition={ref(a.condition)}", f"body={ref(a.body)}"]


@_prints(ir.Conditional)
def _conditional(a: ir.Conditional, ref: _Reference) -> list[str]:
    return [f"branch_computations={{{', '.join(map(ref, a.branches))}}}"]


@_prints(ir.Sort)
def _sort(a: ir.Sort, ref: _Reference) -> list[str]:
    flags = _flags(is_stable=a.is_stable)
    return [f"dimensions={{{a.dimension}}}", *flags, f"to_apply={ref(a.to_apply)}"]


@_prints(ir.Fft)
def _fft(a: ir.Fft, _: _Reference) -> list[str]:
    return [f"fft_type={a.kind}", f"fft_length={braces(a.length)}"]


@_prints(ir.ReducePrecision)
def _reduce_precision(a: ir.ReducePrecision, _: _Reference) -> list[str]:
    return [f"exponent_bits={a.exponent_bits}", f"mantissa_bits={a.mantissa_bits}"]


@_prints(ir.CustomCall)
def _custom_call(a: ir.CustomCall, ref: _Reference) -> list[str]:
    parts = [f"custom_call_target={escape(a.target.encode())}"]
    if a.called:
        parts.append(f"called_computations={{{', '.join(map(ref, a.called))}}}")
    if a.opaque:
        parts.append(f"backend_config={escape(a.opaque)}")
    return parts


@_prints(ir.Cholesky)
def _cholesky(a: ir.Cholesky, _: _Reference) -> list[str]:
    return _flags(lower=a.lower)


@_prints(ir.TriangularSolve)
def _triangular_solve(a: ir.TriangularSolve, _: _Reference) -> list[str]:
    flags = _flags(left_side=a.left_side, lower=a.lower, unit_diagonal=a.unit_diagonal)
    return [*flags, f"transpose_a={a.transpose}"]


@_prints(ir.RngBitGenerator)
def _rng_bit_generator(a: ir.RngBitGenerator, _: _Reference) -> list[str]:
    return [f"algorithm={a.algorithm.lower()}"]


@_prints(ir.GetDimensionSize)
def _get_dimension_size(a: ir.GetDimensionSize, _: _Reference) -> list[str]:
    return [f"dimensions={{{a.dimension}}}"]
