import pytest

from tfaot.errors import ModelError, UnsupportedError, UsageError
from tfaot.frontend.interface import (
    PROBES,
    GraphInput,
    affine_dims,
    check_sizes,
    element_type,
    input_specs,
)
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim

FLOAT = 1


def shapes(*dims, given=None):
    names = "xyzw"
    inputs = [GraphInput(names[i], f"{names[i]}:0", FLOAT, d) for i, d in enumerate(dims)]
    return [str(s.shape) for s in input_specs(inputs, given or {})]


def test_the_first_unknown_axis_is_the_batch():
    assert shapes((None, 3), (), (5,), (None,)) == ["f32[B,3]", "f32[]", "f32[5]", "f32[B]"]
    assert shapes((3, None)) == ["f32[3,B]"]


def test_given_shapes_decide():
    for mark in (None, -1, "?", "-1"):
        assert shapes((None, None, 3), given={"x": (mark, 50, 3)}) == ["f32[B,50,3]"]
    assert shapes((None, 3), given={"x:0": (8, 3)}) == ["f32[8,3]"]
    assert shapes(None, given={"x": ("?", "4")}) == ["f32[B,4]"]
    assert shapes((None, None), given={"x": (7, None)}) == ["f32[7,B]"]


@pytest.mark.parametrize(
    ("dims", "hint"),
    [
        ([(None, None, 3)], r"axis 1 of the input 'x'.*--input-shape x=\?,50,3 \(or \?"),
        ([(None, None, None)], r"axis 1 and 2 .*--input-shape x=\?,50,50 \(or \?"),
        ([None], r"rank of the input 'x' is unknown.*--input-shape x=\?,10$"),
        ([(None, 3), (2, None)], r"axis 1 of the input 'y' is unknown.*--input-shape y=2,50"),
    ],
)
def test_what_only_the_user_knows_is_asked_for(dims, hint):
    with pytest.raises(ModelError, match=hint):
        shapes(*dims)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"v": (None, 3)}, r"no input 'v' \(inputs: x\)"),
        ({"x": (None, 4)}, "axis 1 is 3 in the model, not 4"),
        ({"x": (None, None)}, "axis 1 is 3 in the model, not the batch axis"),
        ({"x": (None,)}, "has 2 axes, not 1"),
        ({"x": ("many", 3)}, "'many' is no size"),
        ({"x": (-2, 3)}, "'-2' is no size"),
    ],
)
def test_wrong_shapes_are_refused(given, reason):
    with pytest.raises(UsageError, match=reason):
        shapes((None, 3), given=given)


def test_every_type_of_the_issue_is_known():
    numbers = {1: "f32", 2: "f64", 14: "bf16", 19: "f16", 10: "pred", 6: "s8", 23: "u64"}
    assert {n: element_type(n, "x").value for n in numbers} == numbers
    assert element_type(9, "x") is DType.S64
    with pytest.raises(UnsupportedError, match="the input 'x' has the type string"):
        element_type(7, "the input 'x'")


def test_sizes_affine_in_the_batch_are_recognised():
    sizes = [(3, b, 2 * b + 1, b - 1) for b in PROBES]
    expected = (3, BatchDim(1), BatchDim(2, 1), BatchDim(1, -1))
    assert affine_dims(sizes, "y") == expected


@pytest.mark.parametrize("size", [lambda b: b // 2, lambda b: b * b])
def test_other_sizes_are_refused(size):
    with pytest.raises(UnsupportedError, match="axis 0 of y is no multiple of the batch size"):
        affine_dims([(size(b),) for b in PROBES], "y")


@pytest.mark.parametrize("batch", [1, 1000])
def test_sizes_that_fit_at_the_probes_alone_are_refused(batch):
    check_sizes((BatchDim(1), 3), (batch, 3), batch, "y")
    check_sizes((BatchDim(1, -5000), 3), (0, 3), batch, "y")
    with pytest.raises(UnsupportedError, match=f"axis 0 of y is B .* and 16 at batch {batch}"):
        check_sizes((BatchDim(1), 3), (16, 3), batch, "y")
