"""The worker's environment: XLA's flags are read once, when TensorFlow is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tfaot.errors import UsageError

DISABLED_PASSES = (
    "fusion",
    "cpu-instruction-fusion",
    "cpu-multi-output-fusion",
    "cpu-parallel-task-assigner",
    "constant_folding",
    # Splits long reductions by size, which differs between the probed batch sizes.
    "tree_reduction_rewriter",
    # Splits cumulative sums into many windows; one reduce-window is recognised as such.
    "reduce-window-rewriter",
)
"""XLA's backend passes: fusion is our own; folding would hide what depends on the batch size."""

_OWN_FLAGS = (
    "--xla_cpu_multi_thread_eigen=false",
    # Dots stay dots: XLA would hand them to a library of its own.
    "--xla_cpu_experimental_ynn_fusion_type=",
    # XLA also makes machine code, which is thrown away: no need to optimise it.
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
)
_NO_FOLDING = "--tf_xla_disable_constant_folding=true"
"""What TensorFlow folds before XLA sees it hides what depends on the batch size, and is larger."""

_NO_EMITTERS = "--xla_cpu_use_fusion_emitters=false"
"""Several times faster and without a fusion around each op; but XLA turns scatter into loops."""

_DISABLE = "--xla_disable_hlo_passes="


def worker_environment(
    xla_flags: Iterable[str] = (),
    tf_xla_flags: Iterable[str] = (),
    base: Mapping[str, str] | None = None,
    *,
    keep_scatter: bool = False,
    keep_constants: bool = False,
) -> dict[str, str]:
    """The environment of a worker, from `base` (default: this process's own).

    Args:
        xla_flags: flags added to XLA_FLAGS, after those of `base` and before our own.
        tf_xla_flags: flags added to TF_XLA_FLAGS.
        base: the environment to start from.
        keep_scatter: leave scatter whole, at the price of slower lowering.
        keep_constants: leave what TensorFlow would compute of constants and of the batch size.

    Raises:
        UsageError: a flag does not have the form `--name=value` or `--name`.
    """
    environment = dict(os.environ if base is None else base)
    flags = [*_flags_of(environment.get("XLA_FLAGS", "")), *_checked(xla_flags, "--xla-flags")]
    environment["XLA_FLAGS"] = " ".join(merge_flags(flags, keep_scatter=keep_scatter))
    extra = _checked(tf_xla_flags, "--tf-xla-flags")
    known = environment.get("TF_XLA_FLAGS", "").split()
    own = [_NO_FOLDING] if keep_constants else []
    environment["TF_XLA_FLAGS"] = " ".join([*own, *known, *extra])
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # oneDNN picks its summation order by CPU: without it, TensorFlow's own errors, which the
    # manifest reports, are the same on other machines.
    environment.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    environment["KERAS_BACKEND"] = "tensorflow"
    environment["CUDA_VISIBLE_DEVICES"] = "-1"
    environment["PYTHONUNBUFFERED"] = "1"
    # Custom objects live in modules that this process can import, and so must the worker.
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(p for p in sys.path if p))
    return environment


def expands_scatter() -> bool:
    """Whether this process, a worker, lowers scatter to loops."""
    return _NO_EMITTERS in os.environ.get("XLA_FLAGS", "").split()


def merge_flags(flags: Iterable[str], *, keep_scatter: bool = False) -> list[str]:
    """The user's XLA flags followed by ours; all lists of disabled passes become one."""
    kept: list[str] = []
    passes: list[str] = []
    for flag in flags:
        if flag.startswith(_DISABLE):
            passes += [name for name in flag.removeprefix(_DISABLE).split(",") if name]
        else:
            kept.append(flag)
    disabled = dict.fromkeys([*passes, *DISABLED_PASSES])
    emitters = () if keep_scatter else (_NO_EMITTERS,)
    return [*kept, *_OWN_FLAGS, *emitters, _DISABLE + ",".join(disabled)]


def _flags_of(value: str) -> list[str]:
    """The flags in a value of XLA_FLAGS, which may also be the name of a file of flags."""
    value = value.strip()
    if value and not value.startswith("-"):
        try:
            value = Path(value).read_text()
        except OSError:
            raise UsageError(f"XLA_FLAGS names the file '{value}', which can't be read") from None
    return value.split()


def _checked(flags: Iterable[str], option: str) -> list[str]:
    found = [word for flag in flags for word in flag.split()]
    for flag in found:
        if not flag.startswith("--"):
            raise UsageError(f"{option}: '{flag}' is no flag: write it as --name=value")
    return found
