"""Emits any kernel, by what it is built around."""

from __future__ import annotations

from collections.abc import Callable

from tfaot.codegen import elementwise, gather, movement
from tfaot.codegen.expression import unsupported
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.convolution import emit_convolution
from tfaot.codegen.kernels.custom_call import emit_custom_call
from tfaot.codegen.kernels.dot import emit_dot
from tfaot.codegen.kernels.fft import emit_fft
from tfaot.codegen.kernels.linalg import emit_cholesky, emit_triangular_solve
from tfaot.codegen.kernels.loop import emit_loop
from tfaot.codegen.kernels.random import emit_rng_bit_generator
from tfaot.codegen.kernels.reduce import emit_reduce
from tfaot.codegen.kernels.rows import emit_rows
from tfaot.codegen.kernels.scatter import emit_scatter
from tfaot.codegen.kernels.sort import emit_sort
from tfaot.codegen.kernels.window import emit_reduce_window, emit_select_and_scatter

RULE_FAMILIES = (elementwise, gather, movement)
"""The files whose import registers the rules of expressions."""

EMITTERS: dict[str, Callable[[KernelContext], None]] = {
    "loop": emit_loop,
    "reduce": emit_reduce,
    "rows": emit_rows,
    "dot": emit_dot,
    "convolution": emit_convolution,
    "reduce-window": emit_reduce_window,
    "select-and-scatter": emit_select_and_scatter,
    "scatter": emit_scatter,
    "sort": emit_sort,
    "custom-call": emit_custom_call,
    "fft": emit_fft,
    "cholesky": emit_cholesky,
    "triangular-solve": emit_triangular_solve,
    "rng-bit-generator": emit_rng_bit_generator,
}


def emit_kernel(context: KernelContext) -> None:
    """Emit the code of `context.kernel` at its builder."""
    emitter = EMITTERS.get(context.kernel.kind)
    if emitter is None:
        raise unsupported(context.kernel.root)
    emitter(context)
