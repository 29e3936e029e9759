"""Which ops there is no code for, told apart in a module that has them; the table of what works."""

import pytest

from tfaot.checker.generation import try_generation
from tfaot.checker.ops import layer_of, xla_ops
from tfaot.checker.table import support_table, supported
from tfaot.ir.dtypes import DType
from tfaot.ir.text import parse_module
from tfaot.testing.cases import op_cases

COMPLEX_CONVOLUTION = """
HloModule m
ENTRY e {
  x = c64[B,8,3] parameter(0), metadata={op_name="x"}
  k = c64[2,3,4] parameter(1)
  y = c64[B,8,3] negate(x), metadata={op_type="Neg" op_name="part/Neg"}
  ROOT z = c64[B,7,4] convolution(y, k), window={size=2}, dim_labels=b0f_0io->b0f, META
}
""".replace("META", 'metadata={op_type="Conv1D" op_name="part/Conv1D"}')


def test_the_op_without_code_is_named():
    text = COMPLEX_CONVOLUTION.replace("B", "5")
    trial = try_generation([parse_module(text)], [None])
    assert trial.refusal
    assert [i.metadata.op_name for i, _ in trial.failures] == ["part/Conv1D"]
    assert xla_ops([parse_module(text)])["part/Neg"] == ("negate c64[5,8,3]",)


def test_code_for_all():
    text = COMPLEX_CONVOLUTION.replace("B", "5").replace("c64", "f32")
    trial = try_generation([parse_module(text)], [None])
    assert not trial.refusal
    assert not trial.failures


def test_the_table_tells_types_apart():
    cases = [c for c in op_cases(["convolution"]) if c.dtype in (DType.F32, DType.C64)]
    assert supported(cases) == {"convolution": {DType.F32: True, DType.C64: False}}


@pytest.mark.tensorflow
def test_the_whole_table(session):
    table = support_table(session)
    ops = {op.name: op for op in table.tensorflow}
    assert len(ops) > 400
    assert "float32" in dict(ops["MatMul"].types)["T"]
    assert ops["RandomUniform"].refused
    assert not ops["StatelessRandomUniformV2"].refused
    assert "QuantizeV2" not in ops
    assert table.xla["add"][DType.F32]


@pytest.mark.parametrize(
    ("node", "layers", "layer"),
    [
        ("functional_1/hidden_1/MatMul", {"hidden": "Dense"}, "hidden (Dense)"),
        ("hidden_1/MatMul", {"hidden_1": "Dense", "hidden": "LSTM"}, "hidden_1 (Dense)"),
        ("m/lstm/cell/MatMul", {"lstm": "LSTM", "cell": "LSTMCell"}, "lstm/cell (LSTMCell)"),
        ("StatefulPartitionedCall/m/hidden/MatMul", {}, "m/hidden"),
        ("StatefulPartitionedCall_1/MatMul", {}, ""),
        ("MatMul", {"hidden": "Dense"}, ""),
    ],
)
def test_layers(node, layers, layer):
    assert layer_of(node, layers) == layer
