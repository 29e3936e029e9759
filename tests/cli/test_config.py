"""aot_config.yaml: the keys of cms-tfaot, strictly."""

import pytest

from tfaot.config import read_config
from tfaot.errors import UsageError

FULL = """
# a comment
model:
  name: tagger
  version: "1.0.0"
  saved_model: ../models/tagger
  serving_key: serving_default
  author: somebody
  description: one line
compilation:
  batch_sizes: [4, 1, 2]
  namespace: null
  tf_xla_flags: []
  xla_flags: ["--xla_a=1"]
"""


def read(tmp_path, text):
    path = tmp_path / "aot_config.yaml"
    path.write_text(text, encoding="utf-8")
    return read_config(path)


def test_all_keys(tmp_path):
    config = read(tmp_path, FULL)
    assert config.saved_model == tmp_path / "../models/tagger"
    assert (config.name, config.version, config.serving_key) == (
        "tagger",
        "1.0.0",
        "serving_default",
    )
    assert (config.author, config.description) == ("somebody", "one line")
    assert config.batch_sizes == (1, 2, 4)
    assert config.namespace == "tfaot_model"
    assert (config.tf_xla_flags, config.xla_flags) == ((), ("--xla_a=1",))


def test_least(tmp_path):
    config = read(tmp_path, "model: {saved_model: /abs/model}")
    assert str(config.saved_model) == "/abs/model"
    assert config.name is None
    assert read(tmp_path, "model: {saved_model: m}\ncompilation:\n").batch_sizes == ()


def test_the_model_is_beside_the_file_by_default(tmp_path):
    (tmp_path / "saved_model").mkdir()
    text = "model: {name: a, version: 2}\ncompilation: {batch_sizes: [1], namespace: a::b}"
    config = read(tmp_path, text)
    assert config.saved_model == tmp_path / "saved_model"
    assert (config.version, config.namespace) == ("2", "a::b")


def test_json_is_yaml(tmp_path):
    text = '{"model": {"saved_model": "m", "name": "a"}, "compilation": {"batch_sizes": [2]}}'
    assert read(tmp_path, text).batch_sizes == (2,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is missing or no mapping"),
        ("- a", "the file is no mapping"),
        ("model: 3", "model is no mapping"),
        ("compilation: {}", "model is missing"),
        ("model: {name: a}", "'model.saved_model' is missing"),
        ("model: {saved_model: m, nmae: a}", "unknown key 'model.nmae', known are name, version"),
        ("models: {}", "unknown key 'models', known are model, compilation"),
        ("model: {saved_model: 3}", "'model.saved_model' must be text"),
        ("model: {saved_model: m, name: a-b}", "'a-b' is no C identifier"),
        ("model: {saved_model: m}\ncompilation: {batch_sizes: [0]}", "positive integers, not 0"),
        ("model: {saved_model: m}\ncompilation: {batch_sizes: [true]}", "integers, not True"),
        ("model: {saved_model: m}\ncompilation: {batch_sizes: a}", "not 'a'"),
        ("model: {saved_model: m}\ncompilation: {xla_flags: 3}", "'compilation.xla_flags'"),
        ("model: {saved_model: m}\ncompilation: {namespace: 'a b'}", "namespace 'a b'"),
        ("model: [", "is no YAML: .* in line 1"),
        ("model: !!python/object:os.system {}", "is no YAML"),
    ],
)
def test_errors_name_the_key(tmp_path, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path, text)
    assert "aot_config.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
