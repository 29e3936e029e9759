"""Advice is true: the op is refused, and the way around compiles and computes the same."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tfaot.checker import check_model
from tfaot.checker.advice import FAMILIES, family_of

sys.path.insert(0, str(Path(__file__).parent))

from advice_cases import CASES


def traced(tf, function, inputs):
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
    return tf.function(function, input_signature=specs)


QUICK = {"EuclideanNorm", "BesselI0", "EagerPyFunc"}


def _parameter(number, case):
    marks = [pytest.mark.tensorflow] + [pytest.mark.slow] * (case.op not in QUICK)
    return pytest.param(case, id=f"{number}-{case.op}", marks=marks)


@pytest.mark.parametrize("case", [_parameter(*c) for c in enumerate(CASES)])
def test_ways_around(case, tf, session):
    refused = traced(tf, case.refused(tf), case.inputs)
    around = traced(tf, case.around(tf), case.inputs)

    found = {op.op: op for op in check_model(refused, session=session).problems}
    assert case.op in found
    assert found[case.op].advice == family_of(case.op).text
    report = check_model(around, session=session)
    assert report.compiles, report.refusal

    if case.compared:
        np.testing.assert_allclose(
            around(*case.inputs), refused(*case.inputs), rtol=2e-4, atol=2e-5
        )


def test_families_are_told_apart():
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert family_of("StringToHashBucketFast").name == "strings"
    assert family_of("LookupTableFindV2").name == "lookup tables"
    assert family_of("DecodeJpeg").name == "files and formats"
    assert family_of("DecodeBase64").name == "strings"
    assert family_of("SparseCross").name == "crossed features"
    assert family_of("SparseReduceSum").name == "sparse tensors"
    assert family_of("RandomUniform").name == "random numbers with a state"
    assert family_of("StatelessRandomUniform") is None
    assert family_of("MatMul") is None
