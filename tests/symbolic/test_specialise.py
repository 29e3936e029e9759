from tfaot.ir.attributes import Constant, Gather, Pad
from tfaot.ir.text import parse_module
from tfaot.ir.verifier import verify
from tfaot.symbolic import specialise

TEXT = """
HloModule m
%body (p: (s32[], f32[2B+1,4])) -> (s32[], f32[2B+1,4]) {
  %p = (s32[], f32[2B+1,4]) parameter(0)
  %x = f32[2B+1,4] get-tuple-element(%p), index=1
  %n = s32[] get-dimension-size(%x), dimensions={0}
  ROOT %t = (s32[], f32[2B+1,4]) tuple(%n, %x)
}
%cond (p: (s32[], f32[2B+1,4])) -> pred[] {
  %p = (s32[], f32[2B+1,4]) parameter(0)
  ROOT %no = pred[] constant(false)
}
ENTRY %e (x: f32[B,4], i: s32[3]) -> (s32[], f32[2B+1,4], f32[3,B]) {
  %x = f32[B,4] parameter(0)
  %i = s32[3] parameter(1)
  %zero = f32[] constant(0)
  %izero = s32[] constant(0)
  %y = f32[2B+1,4] pad(%x, %zero), padding=0_B+1x0_0
  %g = f32[3,B] gather(%x, %i), offset_dims={1}, collapsed_slice_dims={1}, start_index_map={1}, \
index_vector_dim=1, slice_sizes={B,1}
  %t = (s32[], f32[2B+1,4]) tuple(%izero, %y)
  %w = (s32[], f32[2B+1,4]) while(%t), condition=%cond, body=%body
  %a = s32[] get-tuple-element(%w), index=0
  %b = f32[2B+1,4] get-tuple-element(%w), index=1
  ROOT %r = (s32[], f32[2B+1,4], f32[3,B]) tuple(%a, %b, %g)
}"""


def test_sizes_everywhere_become_integers():
    for batch in (1, 2, 50):
        static = specialise(parse_module(TEXT), batch)
        verify(static)
        assert not static.batch
        nodes = {i.name: i for c in static.computations() for i in c.instructions}
        assert all("B" not in str(i.shape) for i in nodes.values())
        assert nodes["y"].attr(Pad).high == (batch + 1, 0)
        assert nodes["g"].attr(Gather).slice_sizes == (batch, 1)
        assert nodes["n"].attr(Constant).value == 2 * batch + 1


def test_batch_zero_has_empty_arrays():
    text = (
        TEXT.split("%body")[0]
        + "ENTRY %e { %x = f32[B,4] parameter(0)\n ROOT %n = f32[B,4] negate(%x) }"
    )
    static = specialise(parse_module(text), 0)
    verify(static)
    assert static.entry.root.array.dims == (0, 4)
