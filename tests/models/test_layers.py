"""Every layer of `keras.layers`, compiled and verified; the documents list the same cases."""

import inspect

import numpy as np
import pytest
from layer_cases import CASES, REFUSED, ROWS_MIX, WITHOUT

from tfaot.errors import TfaotError

pytestmark = pytest.mark.tensorflow

QUICK = [name for name, case in CASES.items() if case.quick and name not in REFUSED]
SLOW = [name for name, case in CASES.items() if not case.quick and name not in REFUSED]


@pytest.fixture
def check(compiled, keras, shake):
    def run(name):
        model = shake(CASES[name].model(keras))
        # Sizes that layers without a form for all batch sizes are compiled for.
        artifact = compiled(model, batch_sizes=(1, 2, 4))
        manifest = artifact.manifest
        assert manifest.batch.kind == "symbolic"
        assert manifest.batch.rows_independent == (name not in ROWS_MIX), manifest.batch.reason
        assert all(np.isfinite(o["worst_ulp"]) for o in manifest.verification["outputs"])

    return run


@pytest.mark.parametrize("name", QUICK)
def test_layer(check, name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_other_layer(check, name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_layer_that_is_refused_says_why(compiled, keras, name):
    model = CASES[name].model(keras)
    with pytest.raises(TfaotError, match=REFUSED[name].pattern):
        compiled(model, batch_sizes=(1, 2, 4))


def test_all_layers_have_a_case(keras):
    found = {}
    for name, layer in vars(keras.layers).items():
        if inspect.isclass(layer) and issubclass(layer, keras.Layer):
            found.setdefault(layer, set()).add(name)
    tried = {case.layer for case in CASES.values()} | set(WITHOUT)
    missing = [sorted(names) for names in found.values() if not names & tried]
    assert not missing
