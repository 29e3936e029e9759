"""Shapes inferred by the builder agree with the verifier's, for every case (see test_cases too)."""

import numpy as np

from tfaot.ir.attributes import Metadata
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.testing.build import ModuleBuilder

B = BatchDim(1)


def test_dense_layer():
    b = ModuleBuilder("dense", Metadata("MatMul", "model/dense/MatMul"))
    x = b.parameter(DType.F32, (B, 4))
    y = b.matmul(x, b.constant(np.ones((4, 2), np.float32)))
    module = b.module(y, b.compare("GT", y, b.splat(0, y)))
    assert module.batch
    assert [str(o.shape) for o in module.outputs] == ["f32[B,2]", "pred[B,2]"]
    assert y.metadata.op_name == "model/dense/MatMul"


def test_symbolic_sizes():
    b = ModuleBuilder("sizes")
    x = b.parameter(DType.F32, (B, 3))
    zero = b.constant(0, DType.F32)
    assert str(b.pad(x, zero, (1, 0), (2, 0), (1, 0)).shape) == "f32[2B+2,3]"
    assert str(b.concatenate([x, x, x], 0).shape) == "f32[3B,3]"
    assert str(
        b.take_rows(b.parameter(DType.F32, (9, 5)), b.parameter(DType.S32, (B, 2))).shape
    ) == ("f32[B,2,5]")


def test_unused_parameters_stay():
    b = ModuleBuilder("unused")
    b.parameter(DType.F32)
    x = b.parameter(DType.S32)
    assert len(b.module(x).entry.parameters) == 2
