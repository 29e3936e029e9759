import pytest

from tfaot.errors import UsageError
from tfaot.frontend.environment import DISABLED_PASSES, merge_flags, worker_environment


def disabled(flags: list[str]) -> list[str]:
    (found,) = [f for f in flags if f.startswith("--xla_disable_hlo_passes=")]
    return found.split("=")[1].split(",")


def test_flags_of_the_environment_and_of_options_are_kept():
    environment = worker_environment(
        ["--xla_b=2"], ["--tf_xla_c=3"], {"XLA_FLAGS": "--xla_a=1", "TF_XLA_FLAGS": "--tf_xla_d=4"}
    )
    flags = environment["XLA_FLAGS"].split()
    assert flags[:2] == ["--xla_a=1", "--xla_b=2"]
    assert "--xla_cpu_multi_thread_eigen=false" in flags
    assert environment["TF_XLA_FLAGS"] == "--tf_xla_d=4 --tf_xla_c=3"
    kept = worker_environment(base={"TF_XLA_FLAGS": "--tf_xla_d=4"}, keep_constants=True)
    assert kept["TF_XLA_FLAGS"] == "--tf_xla_disable_constant_folding=true --tf_xla_d=4"


def test_disabled_passes_are_merged_into_one_list():
    flags = merge_flags(["--xla_disable_hlo_passes=dce,fusion", "--xla_disable_hlo_passes=cse"])
    assert set(disabled(flags)) == {"dce", "cse", *DISABLED_PASSES}
    assert len(disabled(flags)) == len(set(disabled(flags)))


def test_several_flags_in_one_text_are_separate_flags():
    flags = worker_environment(["--xla_a=1 --xla_b=2"], (), {})["XLA_FLAGS"].split()
    assert flags[:2] == ["--xla_a=1", "--xla_b=2"]


def test_flags_in_a_file_are_read(tmp_path):
    file = tmp_path / "flags"
    file.write_text("--xla_a=1\n--xla_b=2\n")
    flags = worker_environment((), (), {"XLA_FLAGS": str(file)})["XLA_FLAGS"].split()
    assert flags[:2] == ["--xla_a=1", "--xla_b=2"]


def test_a_flag_without_dashes_is_refused():
    with pytest.raises(UsageError, match="--xla-flags: 'xla_a=1' is no flag"):
        worker_environment(["xla_a=1"])
