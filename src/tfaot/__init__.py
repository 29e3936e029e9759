"""tfaot: TensorFlow models ahead of time, to a C/C++ header and an object that need nothing else.

    artifact = tfaot.compile(model, "out", name="tagger")
    model = tfaot.load("out/tagger.json")
    y = model(x)

Nothing is imported before it is used: loading a model needs NumPy alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfaot.errors import (
    ArtifactError,
    InputError,
    InvalidModuleError,
    ModelError,
    TfaotError,
    UnsupportedError,
    UsageError,
    VerificationError,
)

if TYPE_CHECKING:
    from tfaot.artifact import Artifact
    from tfaot.checker import CheckReport
    from tfaot.profiling.results import Profile
    from tfaot.runtime.model import Model

__version__ = "0.1.0"

__all__ = [
    "ArtifactError",
    "InputError",
    "InvalidModuleError",
    "ModelError",
    "TfaotError",
    "UnsupportedError",
    "UsageError",
    "VerificationError",
    "__version__",
    "check",
    "compile",
    "export",
    "load",
    "profile",
    "report",
    "write_weights",
]


def compile(
    model: Any, output_dir: str | Path, *, name: str | None = None, **options: Any
) -> Artifact:
    """Compile a model to NAME.h, NAME.o and NAME.json in `output_dir`.

    Args:
        model: path of a SavedModel, .keras, .h5 or frozen .pb, or a Keras model, tf.function,
            ConcreteFunction or tf.Module.
        output_dir: folder that receives the files.
        name: C identifier that the files and functions are named by; default: the model's own.
        **options: further fields of `tfaot.options.CompileOptions`.

    Returns:
        The paths of the files; its `load()` makes a callable.

    Raises:
        TfaotError: one of its subclasses, with one line that says what to do.
    """
    from tfaot.compiler import compile_model
    from tfaot.options import make_options

    return compile_model(
        make_options(output_dir, name=name, **options), model, lambda stage, detail: None
    )


def check(model: Any, **options: Any) -> CheckReport:
    """Tell whether a model can be compiled, op by op, and what to change where not.

    Args:
        model: as in `compile`.
        **options: as in `tfaot.checker.check_model`: `signature`, `inputs`, `outputs`,
            `input_shapes`, `set_values`, `custom_objects`, `batch_sizes`, `static`, `xla_flags`,
            `tf_xla_flags`.

    Returns:
        The report: `report.compiles`, `report.problems`, and a row per op in `report.ops`.

    Raises:
        TfaotError: there is no model, or an option is wrong.
    """
    from tfaot.checker.check import check_model

    return check_model(model, **options)


def export(
    models: Any,
    output_dir: str | Path | None = None,
    *,
    zip: bool = False,
    wheel: bool = False,
    version: str | None = None,
    tool_name: str | None = None,
    tool_base: str | None = None,
) -> tuple[Path, ...]:
    """Export compiled models for CMake, pkg-config and SCRAM, as a tree, an archive or wheels.

    Args:
        models: one or a list of: path of NAME.json or of a folder with models; what `compile`
            returned.
        output_dir: folder that receives the files; default: `tfaot-models` for a tree, the current
            folder for archives.
        zip: write the tree as one zip archive.
        wheel: write a Python wheel per model.
        version: the packages' version; default: each model's own, or 0.0.0.
        tool_name: instead of `tfaot-model-NAME`, for one model.
        tool_base: the tree's folder as SCRAM's tool file names it.

    Returns:
        The files written.

    Raises:
        TfaotError: one of its subclasses, with one line that says what to do.
    """
    from tfaot.packaging.export import TreeOptions, export_models
    from tfaot.packaging.export.tree import DEFAULT_TOOL_BASE

    one = isinstance(models, (str, Path)) or hasattr(models, "manifest")
    return export_models(
        [getattr(model, "manifest", model) for model in ([models] if one else models)],
        output_dir,
        zip=zip,
        wheel=wheel,
        version=version,
        options=TreeOptions(tool_name, DEFAULT_TOOL_BASE if tool_base is None else tool_base),
    )


def load(path: str | Path, weights: str | Path | None = None) -> Model:
    """The compiled model whose manifest is `path`, as a callable on NumPy arrays.

    Args:
        path: NAME.json.
        weights: the file of the weights of a model compiled with `weights="external"`; by default
            the NAME.weights beside the manifest.

    Raises:
        ArtifactError: a file is missing, corrupt, or not for this machine or model.
    """
    from tfaot.runtime.model import load as load_model

    return load_model(path, weights)


def write_weights(
    manifest: str | Path, model: Any, output: str | Path | None = None, *, verify: bool = True
) -> Path:
    """Write the weights of a retrained model for an artifact compiled with `weights="external"`.

    Args:
        manifest: the artifact's NAME.json.
        model: a model of the same structure, as for `compile`.
        output: the file to write; by default the NAME.weights beside the manifest, which is
            replaced at once: who has mapped the old one keeps it.
        verify: whether the artifact runs with them against TensorFlow first.

    Returns:
        The path of the file.

    Raises:
        TfaotError: one of its subclasses, such as a ModelError for another structure.
    """
    from tfaot.retrained import write_weights as write

    return write(manifest, model, output, verify=verify)


def report(
    manifest: Any,
    output: str | Path = "report.html",
    model: Any = None,
    *,
    batch: int | None = None,
    run: bool = True,
    **options: Any,
) -> Path:
    """Write one HTML page about an artifact: graph, memory, weights, accuracy, time.

    Args:
        manifest: path of NAME.json, or what `compile` returned.
        output: the HTML file; one that is there is replaced.
        model: the model that the artifact was compiled from, to time its kernels.
        batch: rows of a call in which kernels are timed; None chooses.
        run: whether to measure time on this machine.
        **options: those of the compilation that the model needs (`inputs`, `input_shapes`, ...).

    Returns:
        `output`.

    Raises:
        TfaotError: one of its subclasses, with one line that says what to do.
    """
    from tfaot.reporting import write_report
    from tfaot.reporting.collect import Request

    path = Path(getattr(manifest, "manifest", manifest))
    return write_report(Request(path, model, batch, run, options), Path(output))


def profile(models: Any, output_dir: str | Path | None = None, **options: Any) -> Profile:
    """Measure runtime and memory of models, in tfaot and other engines.

    Args:
        models: one or a list of: path of a model or of NAME.json; what `compile` returned; mapping
            or `ModelSettings` with the fields of `tfaot.profiling.ModelSettings`.
        output_dir: folder for JSON and CSV files. A run that was stopped goes on from there when it
            is called again. None keeps nothing.
        **options: further fields of `tfaot.profiling.Settings`: `engines`, `batch_sizes`,
            `repetitions`, `threads`, `inputs`, `measure`, ...

    Returns:
        Milliseconds of every repetition, bytes of every state, and what could not be measured.

    Raises:
        TfaotError: one of its subclasses, with one line that says what to do.
    """
    from tfaot.profiling.config import make_settings
    from tfaot.profiling.profiler import run_profile

    return run_profile(make_settings(models, output_dir, **options))
