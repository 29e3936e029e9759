from dataclasses import replace

import numpy as np

from tfaot.ir.attributes import Constant, Metadata, Reduce
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction, Module, make_computation
from tfaot.ir.printer import print_module
from tfaot.ir.shapes import Shape
from tfaot.ir.text import parse_module


def constant(value):
    shape = Shape(DType.from_numpy(value.dtype), value.shape)
    return Instruction("c", "constant", shape, (), Constant(value))


def test_large_constants_are_elided_on_request_only():
    root = constant(np.arange(5, dtype=np.int32))
    module = Module("m", make_computation("e", root))
    assert "constant({0, 1, 2, 3, 4})" in print_module(module)
    assert "constant({0, 1, 2, 3, 4})" in print_module(module, max_constant=5)
    assert "constant({...})" in print_module(module, max_constant=4)


def test_computations_of_one_name_are_kept_apart():
    text = """
HloModule m
%f (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %s = f32[] add(%a, %b)
}
%g (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %s = f32[] maximum(%a, %b)
}
ENTRY %e (x: f32[4]) -> f32[] {
  %x = f32[4] parameter(0)
  %z = f32[] constant(0)
  %r = f32[] reduce(%x, %z), dimensions={0}, to_apply=%f
  %q = f32[] reduce(%x, %z), dimensions={0}, to_apply=%g
  ROOT %t = (f32[], f32[]) tuple(%r, %q)
}"""
    module = parse_module(text)

    def rename(c: Computation) -> Computation:
        return replace(c, name="f")

    root = module.entry.root
    renamed = tuple(
        replace(o, attrs=Reduce((0,), rename(o.attr(Reduce).to_apply))) for o in root.operands
    )
    entry = make_computation("e", replace(root, operands=renamed))
    again = parse_module(print_module(Module("m", entry)))
    bodies = [o.attr(Reduce).to_apply.root.opcode for o in again.entry.root.operands]
    assert bodies == ["add", "maximum"]


def test_module_and_instruction_metadata_survive():
    root = replace(constant(np.array(1.5)), metadata=Metadata("Op", 'a"b\\c\nd/é'))
    module = Module("m", make_computation("e", root), metadata={"k": 'v "1", {2}'})
    again = parse_module(print_module(module))
    assert again.metadata == module.metadata
    assert again.entry.root.metadata == root.metadata
