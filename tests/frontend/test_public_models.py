"""Trained production models against their reference outputs, where they are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest

from tfaot.frontend.session import ModelSource

pytestmark = pytest.mark.tensorflow

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("TFAOT_SHARED_MODELS", ROOT.parent / "shared" / "models"))
CASES = {
    "test_simple_saved_model": ("reference_test_simple.npz", ["input"], ["output"]),
    "test_multi_saved_model": (
        "reference_test_multi.npz",
        ["input1", "input2"],
        ["output1", "output2"],
    ),
    "trackdnn_CKF_2021Run3/CKF_2021Run3.pb": (None, ["x", "y"], ["Identity"]),
    "l2tau_run3v1/L2TauTag_Run3v1.pb": (None, ["x"], ["Identity"]),
    "emtf_displ_5/model_graph.displ.5.pb": (
        None,
        ["batch_normalization_1_input"],
        ["dense_4/BiasAdd"],
    ),
    "deepdoublex_102x_BvL/BvL.h5": (
        None,
        ["input_1", "input_2", "input_3", "input_4"],
        ["ID_pred"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_interface_values_and_lowering(session, name):
    path = MODELS / name
    if not path.exists():
        pytest.skip(f"no model at {path}: set TFAOT_SHARED_MODELS")
    reference, inputs, outputs = CASES[name]
    arrays = np.load(MODELS / reference if reference else path.parent / "reference.npz")
    model = session.load(ModelSource(path))
    assert [i.name for i in model.signature.inputs] == inputs
    assert [o.name for o in model.signature.outputs] == outputs
    given = [
        arrays[f"in{k}"] if f"in{k}" in arrays else arrays[f"in_{n}"] for k, n in enumerate(inputs)
    ]
    for found, output in zip(model.evaluate(given), outputs, strict=True):
        key = "out_" + output.replace("/", "_")
        expected = arrays[key] if key in arrays else arrays["out_out0"]
        scale = np.abs(expected.astype(np.float64)).max()
        difference = np.abs(found.astype(np.float64) - expected).max()
        assert difference <= 4e-6 * max(scale, 1)
    assert model.lower(31) == model.lower(31)
