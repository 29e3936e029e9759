"""Signatures: sizes fixed, affine in the batch, or listed per static batch size."""

import pytest

from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.signature import ListedDim, Signature, TensorSpec, listed_dim, with_sizes


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((4, 8, 12), BatchDim(1)),
        ((7, 11, 15), BatchDim(1, 3)),
        ((10, 6, 2), BatchDim(-1, 14)),
        ((3, 3, 3), 3),
        ((2, 4, 6), ListedDim(((4, 2), (8, 4), (12, 6)))),
        ((4, 8, 10), ListedDim(((4, 4), (8, 8), (12, 10)))),
    ],
)
def test_sizes_at_given_batches_take_the_simplest_form(sizes, expected):
    dim = listed_dim((4, 8, 12), sizes)
    assert dim == expected
    spec = TensorSpec("y", DType.F32, (dim, 2))
    assert [spec.sizes(n) for n in (4, 8, 12)] == [(s, 2) for s in sizes]


def test_one_batch_size_fixes_all_sizes():
    assert listed_dim((5,), (3,)) == 3


@pytest.mark.parametrize(
    ("dims", "leads"),
    [
        ((), True),
        ((2, 3), True),
        ((BatchDim(2), 3), True),
        ((BatchDim(1, 1), 3), False),
        ((3, BatchDim(1)), False),
        ((BatchDim(1), BatchDim(1)), False),
        ((ListedDim(((4, 2),)),), False),
    ],
)
def test_whether_rows_lead(dims, leads):
    spec = TensorSpec("y", DType.F32, dims)
    assert spec.rows_lead is leads
    assert Signature((), (spec,)).has_batch is any(not isinstance(d, int) for d in dims)


def test_sizes_that_depend_on_the_data_follow_their_outputs():
    mask = TensorSpec("mask:0", DType.F32, (BatchDim(4), 3), varying=(0,))
    both = TensorSpec("both", DType.S8, (7, 9), varying=(0, 1))
    taken = TensorSpec("both_size", DType.F32, ())
    outputs = with_sizes([mask, both, taken])
    assert [spec.name for spec in outputs] == [
        "mask:0",
        "mask_size",
        "both",
        "both_size_",
        "both_size",
    ]
    assert outputs[1] == TensorSpec("mask_size", DType.S32, ())
    assert outputs[3] == TensorSpec("both_size_", DType.S32, (2,))
    signature = Signature((), outputs)
    assert [n for n in range(5) if signature.is_size(n)] == [1, 3]
