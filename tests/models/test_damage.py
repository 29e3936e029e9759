"""An object that is damaged after it was compiled must not pass verification."""

import hashlib
import json

import numpy as np
import pytest

from tfaot.compiler import lower
from tfaot.errors import ArtifactError, VerificationError
from tfaot.frontend.session import open_model
from tfaot.verification import verify_model

pytestmark = pytest.mark.tensorflow


def quiet(stage, detail):
    pass


def test_a_changed_bias_fails_with_output_and_row(compiled, function, session, tmp_path):
    bias = np.array([0.25, 1234.5678, -0.5], np.float32)
    w = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    model = function(lambda x: {"first": x * 2.0, "score": x @ w + bias}, ([None, 4], "float32"))
    manifest = compiled(model).manifest
    out = tmp_path / "out"
    data = (out / "model.o").read_bytes()
    assert data.count(bias[1].tobytes()) == 1
    damaged = data.replace(bias[1].tobytes(), np.float32(1234.6).tobytes())
    (out / "model.o").write_bytes(damaged)
    with open_model(model, session=session) as loaded:
        lowered = lower(loaded, (), quiet)
        with pytest.raises(ArtifactError):
            verify_model(out / "model.json", loaded, lowered, quiet)
        described = json.loads((out / "model.json").read_text())
        described["object"]["sha256"] = hashlib.sha256(damaged).hexdigest()
        assert manifest.object.sha256 != described["object"]["sha256"]
        (out / "model.json").write_text(json.dumps(described))
        with pytest.raises(VerificationError, match=r"output 'score' .* row \d+.*1234\.") as caught:
            verify_model(out / "model.json", loaded, lowered, quiet)
    assert caught.value.exit_code == 3
