"""The rows that a report lists: those with the largest errors, of all batch sizes."""

import json

import numpy as np

from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.signature import TensorSpec
from tfaot.verification.judge import Sample, judge
from tfaot.verification.report import WORST_ROWS, VerificationReport


def no_spread(rows, enough):
    raise AssertionError("nothing is beyond the bound")


def sample(batch, wrong):
    """A batch of ones, with some elements `wrong[row]` ULP off in column 1."""
    expected = np.ones((batch, 3))
    actual = np.ones((batch, 3), np.float32)
    for row, ulp in wrong.items():
        actual[row, 1] += np.float32(ulp * 2.0**-23)
    return Sample(batch, actual, np.ones((batch, 3), np.float32), expected, no_spread)


def test_the_worst_rows_come_first_each_once():
    spec = TensorSpec("y", DType.F32, (BatchDim(1), 3))
    samples = [sample(4, {1: 3}), sample(40, {7: 6, 8: 1, 9: 2, 10: 4, 11: 5})]
    report, miss = judge(spec, samples)
    assert miss is None
    assert [(r.batch, r.index) for r in report.rows] == [
        (40, (7, 1)),
        (40, (11, 1)),
        (40, (10, 1)),
        (4, (1, 1)),
        (40, (9, 1)),
    ]
    assert len(report.rows) == WORST_ROWS
    assert report.rows[0].ulp == report.worst_ulp
    assert report.rows[0].actual != report.rows[0].expected == 1.0
    (output,) = json.loads(json.dumps(VerificationReport((4, 40), (report,), "x").to_json()))[
        "outputs"
    ]
    # Enough digits to tell the two apart.
    assert output["rows"][0]["actual"] == 1.00000072
    assert output["rows"][0]["index"] == [7, 1]


def test_a_scalar_and_a_perfect_output():
    spec = TensorSpec("s", DType.F32, ())
    exact = Sample(
        1, np.float32(1.5).reshape(()), np.float32(1.5).reshape(()), np.array(1.5), no_spread
    )
    assert judge(spec, [exact])[0].rows == ()
    off = Sample(
        1, np.array(1.5 + 2**-22, np.float32), np.float32(1.5).reshape(()), np.array(1.5), no_spread
    )
    (row,) = judge(spec, [off])[0].rows
    assert row.index == ()
