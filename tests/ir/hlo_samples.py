"""HLO text used by several tests: what XLA prints, shortened, and one module per family of ops."""

# Fusions of one op, layouts, metadata with a source file, and attributes that don't matter.
WRAPPED = """\
HloModule jit_f, is_scheduled=true, entry_computation_layout={(f32[31,4]{1,0})->f32[31,2]{1,0}}

%add_float_.1 (x.1: f32[], y.1: f32[]) -> f32[] {
  %x.1 = f32[] parameter(0)
  %y.1 = f32[] parameter(1)
  ROOT %add.9 = f32[] add(%x.1, %y.1)
}

%wrapped_reduce (param_0: f32[31,2], param_1: f32[]) -> f32[31] {
  %param_0 = f32[31,2]{1,0} parameter(0)
  %param_1 = f32[] parameter(1)
  ROOT %Sum.1 = f32[31]{0} reduce(%param_0, %param_1), dimensions={1}, to_apply=%add_float_.1
}

%wrapped_broadcast_computation (param_0.1: f32[31]) -> f32[31,2] {
  %param_0.1 = f32[31]{0} parameter(0)
  ROOT %broadcast.3 = f32[31,2]{1,0} broadcast(%param_0.1), dimensions={0}
}

ENTRY %main.10 (arg0.1: f32[31,4]) -> f32[31,2] {
  %arg0.1 = f32[31,4]{1,0} parameter(0), parameter_replication={false}, metadata={op_name="Args"}
  %w = f32[4,2]{1,0} constant({ { 1, 2 }, { 3, 4 }, { 5, 6 }, { 7, 8 } })
  %zero = f32[] constant(-0)
  %MatMul.3 = f32[31,2]{1,0} dot(%arg0.1, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}, \
frontend_attributes={grad_x="false",grad_y="false"}, metadata={op_type="MatMul" \
op_name="model/dense \\"1\\"/MatMul" source_file="/a{b}.py" source_line=1221}
  %fused = f32[31]{0} fusion(%MatMul.3, %zero), kind=kLoop, calls=%wrapped_reduce
  %wrapped_broadcast = f32[31,2]{1,0} fusion(%fused), kind=kLoop, \
calls=%wrapped_broadcast_computation, backend_config={"outer":{"n":["1"]}}
  ROOT %sub = f32[31,2]{1,0} subtract(f32[31,2]{1,0} %MatMul.3, /*index=1*/f32[31,2]{1,0} \
%wrapped_broadcast)
}
"""

HEADER = """\
HloModule m

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %s = f32[] add(%a, %b)
}

%ge (a: f32[], b: f32[]) -> pred[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %s = pred[] compare(%a, %b), direction=GE
}

%compare2 (a: f32[], b: f32[], c: s32[], d: s32[]) -> pred[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  %c = s32[] parameter(2)
  %d = s32[] parameter(3)
  ROOT %s = pred[] compare(%a, %b), direction=GT, type=TOTALORDER
}

%condition (p: (s32[], f32[B,4])) -> pred[] {
  %p = (s32[], f32[B,4]) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %n = s32[] constant(3)
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

%body (p: (s32[], f32[B,4])) -> (s32[], f32[B,4]) {
  %p = (s32[], f32[B,4]) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %one = s32[] constant(1)
  %next = s32[] add(%i, %one)
  %x = f32[B,4] get-tuple-element(%p), index=1
  ROOT %t = (s32[], f32[B,4]) tuple(%next, %x)
}

%branch (p: f32[B,4]) -> f32[B,4] {
  ROOT %p = f32[B,4] parameter(0)
}

ENTRY %main (x: f32[B,4], im: f32[B,8,8,3], i: s32[B,2], c: c64[B,8]) -> f32[B,4] {
  %x = f32[B,4] parameter(0)
  %im = f32[B,8,8,3] parameter(1)
  %i = s32[B,2] parameter(2)
  %c = c64[B,8] parameter(3)
  %zero = f32[] constant(0)
  %izero = s32[] constant(0)
"""

# One line per attribute form; `x`, `im`, `i`, `c`, `zero` and `izero` are as in HEADER.
OPS = [
    "f32[B,4] iota(), iota_dimension=0",
    "f32[B,4,2] broadcast(%x), dimensions={0,1}",
    "f32[4,B] transpose(%x), dimensions={1,0}",
    "f32[4B] reshape(%x)",
    "f32[B-1,2] slice(%x), slice={[1:B], [0:4:2]}",
    "f32[1,4] dynamic-slice(%x, %izero, %izero), dynamic_slice_sizes={1,4}",
    "f32[B,4] dynamic-update-slice(%x, %x, %izero, %izero)",
    "f32[2B,4] concatenate(%x, %x), dimensions={0}",
    "f32[B+3,10] pad(%x, %zero), padding=1_2x2_1_1",
    "f32[100,4] pad(%x, %zero), padding=0_-B+100x0_0",
    "f32[B,4] reverse(%x), dimensions={0,1}",
    "pred[B,4] compare(%x, %x), direction=LT",
    "pred[B,4] compare(%x, %x), direction=LT, type=TOTALORDER",
    "f32[B] reduce(%x, %zero), dimensions={1}, to_apply=%add",
    "f32[B,B] dot(%x, %x), lhs_contracting_dims={1}, rhs_contracting_dims={1}",
    "f32[B] dot(%x, %x), lhs_batch_dims={0}, lhs_contracting_dims={1}, rhs_batch_dims={0}, "
    "rhs_contracting_dims={1}",
    "f32[B,2] gather(%x, %i), offset_dims={}, collapsed_slice_dims={1}, start_index_map={1}, "
    "operand_batching_dims={0}, start_indices_batching_dims={0}, index_vector_dim=2, "
    "slice_sizes={1,1}",
    "f32[B,4] gather(%x, %i), offset_dims={1}, collapsed_slice_dims={0}, start_index_map={0,1}, "
    "index_vector_dim=1, slice_sizes={1,4}, indices_are_sorted=true",
    "f32[B,4] scatter(%x, %i, %x), update_window_dims={1}, inserted_window_dims={0}, "
    "scatter_dims_to_operand_dims={0,1}, index_vector_dim=1, unique_indices=true, to_apply=%add",
    "f32[B,4,4,3] reduce-window(%im, %zero), window={size=1x3x3x1 stride=1x2x2x1 "
    "pad=0_0x1_1x0_1x0_0}, to_apply=%add",
    "f32[B,8,8,6] convolution(%im, %kernel), window={size=3x3 pad=1_1x1_1 rhs_reversal=1x1}, "
    "dim_labels=b01f_01io->b01f, feature_group_count=3",
    "f32[B,15,8,6] convolution(%im, %kernel), window={size=3x3 stride=1x2 pad=1_1x2_2 "
    "lhs_dilate=2x2 rhs_dilate=1x2}, dim_labels=b01f_01io->b01f, feature_group_count=3",
    "f32[B,8,8,3] select-and-scatter(%im, %pooled, %zero), window={size=1x2x2x1 "
    "stride=1x2x2x1}, select=%ge, scatter=%add",
    "(s32[], f32[B,4]) while(%t), condition=%condition, body=%body",
    "f32[B,4] conditional(%izero, %x, %x, %x), branch_computations={%branch, %branch, %branch}",
    "f32[B,4] conditional(%p, %x, %x), true_computation=%branch, false_computation=%branch",
    "(f32[B,4], s32[B,4]) sort(%x, %iota), dimensions={1}, is_stable=true, to_apply=%compare2",
    "c64[B,8] fft(%c), fft_type=FFT, fft_length={8}",
    "f32[B,14] fft(%c), fft_type=IRFFT, fft_length={14}",
    "f32[B,4] reduce-precision(%x), exponent_bits=5, mantissa_bits=10",
    '(f32[B,2], s32[B,2]) custom-call(%x), custom_call_target="TopK", '
    'called_computations={%ge}, backend_config="a\\"\\\\\\000"',
    "f32[B,4,4] cholesky(%square), lower=true",
    "f32[B,4,4] triangular-solve(%square, %square), left_side=true, lower=true, "
    "transpose_a=TRANSPOSE",
    "(u64[2], u32[B,4]) rng-bit-generator(%state), algorithm=rng_philox",
    "s32[] get-dimension-size(%x), dimensions={0}",
    "f32[B,4] map(%x, %x), to_apply=%add",
    "f64[B,4] convert(%x)",
    "s32[B,4] bitcast-convert(%x)",
    "u8[B,4,4] bitcast-convert(%x)",
    "f32[B,4] opt-barrier(%x)",
    "f32[B,8] real(%c)",
    "f32[B,8] abs(%c)",
    "pred[B,4] is-finite(%x)",
    "f32[B,4] clamp(%zero, %x, %zero)",
    "f32[B,4] select(%p, %x, %x)",
]

HELPERS = """\
  %kernel = f32[3,3,1,6] broadcast(%zero), dimensions={}
  %pooled = f32[B,4,4,3] broadcast(%zero), dimensions={}
  %t = (s32[], f32[B,4]) tuple(%izero, %x)
  %p = pred[] constant(true)
  %iota = s32[B,4] iota(), iota_dimension=1
  %square = f32[B,4,4] broadcast(%x), dimensions={0,1}
  %state = u64[2] constant({1, 2})
"""


def module_of(op: str) -> str:
    """A module whose root is `op`."""
    return f"{HEADER}{HELPERS}  ROOT %result = {op}\n}}\n"
