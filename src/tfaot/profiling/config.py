"""What to profile and how: settings, from Python, the command line or a YAML file.

The keys of the file are the fields of `Settings` and, in its list `models`, those of
`ModelSettings`; paths are relative to the file. Anything unknown or ill-typed is a UsageError that
names the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tfaot.config import read_yaml
from tfaot.errors import UsageError
from tfaot.profiling.inputs import InputSource, input_source

MEASURES = ("runtime", "memory")
CLOCKS = ("wall", "cpu")


@dataclass(frozen=True)
class ModelSettings:
    """One model to profile.

    Attributes:
        model: SavedModel, .keras, .h5 or frozen .pb; None where there is an artifact alone.
        artifact: NAME.json of the compiled model, which tfaot then takes as it is.
        label: name in results and plots; default: that of the file.
        engines: engines for this model alone; empty takes those of the settings.
        batch_sizes: batch sizes for this model alone; empty takes those of the settings.
        inputs: rows for this model alone; None takes those of the settings.
        signature: key of the SavedModel signature.
        input_nodes: input nodes of a frozen graph.
        output_nodes: output nodes of a frozen graph.
        input_shapes: for inputs with unknown axes, sizes per axis; None is the batch axis.
        set_values: placeholders that are fixed to a value.
        custom_objects: Keras custom objects, as texts `module:name` or `module`.
        target: what tfaot compiles for: `native`, `portable`, a CPU or levels.
    """

    model: Path | None = None
    artifact: Path | None = None
    label: str = ""
    engines: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    inputs: InputSource | None = None
    signature: str | None = None
    input_nodes: tuple[str, ...] = ()
    output_nodes: tuple[str, ...] = ()
    input_shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    set_values: Mapping[str, Any] = field(default_factory=dict)
    custom_objects: tuple[str, ...] = ()
    target: str = "native"

    def __post_init__(self) -> None:
        """Check what can be checked without the model."""
        if self.model is None and self.artifact is None:
            raise UsageError("a model to profile needs the key 'model' or 'artifact'")
        check_engines(self.engines)
        check_sizes(self.batch_sizes, "batch_sizes")
        if not self.label:
            path = self.artifact or self.model
            assert path is not None
            object.__setattr__(self, "label", path.resolve().stem)


@dataclass(frozen=True)
class Settings:
    """A profile.

    Attributes:
        models: the models; their labels differ.
        engines: identifiers, as in `tfaot.engines.ENGINES`; empty takes tfaot and TensorFlow.
        batch_sizes: rows per call.
        repetitions: timed calls per model, engine and batch size.
        warmup: untimed calls before them.
        threads: threads that call a model at once. Empty: one where runtimes are measured; 1, 2, 4
            and 8 for memory.
        copies: how many copies of a model are loaded in a process whose memory is measured.
        inputs: where rows come from.
        measure: of `MEASURES`.
        clock: `wall`, or `cpu` for the process's CPU time, with one thread.
        output: folder of the results; None keeps none but those returned.
        work: folder where conversions are kept; None takes the user's cache.
    """

    models: tuple[ModelSettings, ...]
    engines: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    repetitions: int = 100
    warmup: int = 10
    threads: tuple[int, ...] = ()
    copies: tuple[int, ...] = (1, 4)
    inputs: InputSource = field(default_factory=InputSource)
    measure: tuple[str, ...] = MEASURES
    clock: str = "wall"
    output: Path | None = None
    work: Path | None = None

    def __post_init__(self) -> None:
        """Check everything that no model is needed for."""
        if not self.models:
            raise UsageError("there is no model to profile: give a path, or --config with models")
        labels = [m.label for m in self.models]
        for label in labels:
            if labels.count(label) > 1:
                raise UsageError(f"two models are called '{label}': give labels (--labels a,b)")
        check_engines(self.engines)
        if not self.batch_sizes:
            raise UsageError("batch_sizes is empty: give for example 1,2,4")
        for name in ("batch_sizes", "threads", "copies"):
            check_sizes(getattr(self, name), name)
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))
        if self.repetitions < 1:
            raise UsageError(f"repetitions {self.repetitions}: give 1 or more")
        if self.warmup < 0:
            raise UsageError(f"warmup {self.warmup}: give 0 or more")
        for value in self.measure:
            if value not in MEASURES:
                raise UsageError(f"measure '{value}' is not known: give {' or '.join(MEASURES)}")
        if self.clock not in CLOCKS:
            raise UsageError(f"clock '{self.clock}' is not known: give {' or '.join(CLOCKS)}")
        if self.clock == "cpu" and max(self.runtime_threads) > 1:
            raise UsageError("clock 'cpu' is for one thread: leave it out, or the threads")

    @property
    def runtime_threads(self) -> tuple[int, ...]:
        """Numbers of threads for runtimes."""
        return self.threads or (1,)

    @property
    def memory_threads(self) -> tuple[int, ...]:
        """Numbers of threads for memory."""
        return self.threads or (1, 2, 4, 8)


def check_engines(names: Sequence[str]) -> None:
    """UsageError where an engine is not known."""
    from tfaot.engines import ENGINES

    for name in names:
        if name not in ENGINES:
            raise UsageError(
                f"there is no engine '{name}', choose from {', '.join(ENGINES)}, or all"
            )


def check_sizes(values: Sequence[Any], key: str) -> None:
    """UsageError where a value is no positive integer."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UsageError(f"{key}: {value!r} is not a positive integer, give for example 1,2,4")


def all_engines() -> tuple[str, ...]:
    """Every engine once: tfaot from C and from Python, and all others."""
    from tfaot.engines import ENGINES

    return tuple(name for name in ENGINES if name != "tfaot-call")


def model_settings(path: str | Path, **others: Any) -> ModelSettings:
    """The settings of a model at a path: an artifact where that is a .json file.

    Raises:
        UsageError: there is nothing at the path.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UsageError(f"there is no model '{path}'")
    key = "artifact" if path.suffix == ".json" else "model"
    return ModelSettings(**{key: path, **others})


def make_settings(models: Any, output: str | Path | None = None, **options: Any) -> Settings:
    """Settings from a Python call.

    Args:
        models: one or a list of: a path; a mapping or a `ModelSettings`.
        output: folder of the results.
        **options: further fields of `Settings`; inputs may be a text such as `zeros`.

    Raises:
        UsageError: an unknown option, or a wrong value.
    """
    several = isinstance(models, Sequence) and not isinstance(models, (str, bytes))
    data = {
        **{key: value for key, value in options.items() if value is not None},
        "models": [_plain_model(m) for m in (models if several else [models])],
    }
    settings = parse_settings(data, Path())
    return settings if output is None else replace(settings, output=Path(output))


def _plain_model(model: Any) -> Any:
    if isinstance(model, (str, Path)):
        return model_settings(model)
    manifest = getattr(model, "manifest", None)
    return model_settings(manifest) if isinstance(manifest, Path) else model


def read_settings(path: str | Path, **others: Any) -> Settings:
    """The settings in a YAML file; `others` are keys that win over the file's.

    Raises:
        UsageError: the file is missing, no YAML, or has unknown or ill-typed keys.
    """
    path = Path(path)
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise UsageError(f"configuration '{path}' must be a mapping with the key 'models'")
    try:
        return parse_settings({**data, **others}, path.parent)
    except UsageError as error:
        raise UsageError(f"configuration '{path}': {error}") from None


def parse_settings(data: Mapping[str, Any], folder: Path) -> Settings:
    """Settings from plain values; paths are relative to `folder`.

    Raises:
        UsageError: an unknown key or a wrong value.
    """
    values = _known(data, Settings, "")
    models = values.get("models")
    if isinstance(models, (str, dict, ModelSettings)):
        models = [models]
    if not isinstance(models, list):
        raise UsageError("key 'models' must be a list of paths or mappings")
    given: dict[str, Any] = {"models": tuple(_model(m, folder) for m in models)}
    for key, value in values.items():
        match key:
            case "models":
                continue
            case "engines":
                given[key] = _engines(value, key)
            case "measure":
                given[key] = _texts(value, key)
            case "batch_sizes" | "threads" | "copies":
                given[key] = _sizes(value, key)
            case "repetitions" | "warmup":
                if isinstance(value, bool) or not isinstance(value, int):
                    raise UsageError(f"key '{key}' must be an integer, not {value!r}")
                given[key] = value
            case "inputs":
                given[key] = _inputs(value, folder)
            case "output" | "work":
                given[key] = _path(value, key, folder)
            case _:
                given[key] = _text(value, key)
    return Settings(**given)


def _model(value: Any, folder: Path) -> ModelSettings:
    if isinstance(value, ModelSettings):
        return value
    if isinstance(value, str):
        return model_settings(folder / Path(value).expanduser())
    values = _known(value, ModelSettings, "models.")
    given: dict[str, Any] = {}
    for key, item in values.items():
        where = f"models.{key}"
        match key:
            case "model" | "artifact":
                given[key] = _path(item, where, folder)
                if not given[key].exists():
                    raise UsageError(f"there is no model '{given[key]}' (key '{where}')")
            case "engines":
                given[key] = _engines(item, where)
            case "input_nodes" | "output_nodes" | "custom_objects":
                given[key] = _texts(item, where)
            case "batch_sizes":
                given[key] = _sizes(item, where)
            case "inputs":
                given[key] = _inputs(item, folder)
            case "input_shapes":
                given[key] = {
                    str(name): tuple(_axis(size, where) for size in sizes)
                    for name, sizes in _mapping(item, where).items()
                }
            case "set_values":
                given[key] = dict(_mapping(item, where))
            case _:
                given[key] = _text(item, where)
    return ModelSettings(**given)


def _inputs(value: Any, folder: Path) -> InputSource:
    if isinstance(value, InputSource):
        return value
    if isinstance(value, (str, Path)):
        text = str(value)
        inside = folder / text
        return input_source(str(inside) if inside.is_file() else text)
    known = ("file", "tree", "columns")
    for key in _mapping(value, "inputs"):
        if key not in known:
            raise UsageError(f"unknown key 'inputs.{key}', known are {', '.join(known)}")
    columns = {
        str(name): _texts(branches, f"inputs.columns.{name}")
        for name, branches in _mapping(value.get("columns") or {}, "inputs.columns").items()
    }
    tree = value.get("tree")
    if "file" not in value:
        raise UsageError("key 'inputs.file' is missing: give an .npz or .root file")
    return input_source(
        str(_path(value["file"], "inputs.file", folder)),
        None if tree is None else _text(tree, "inputs.tree"),
        columns,
    )


def _known(value: Any, kind: type[Any], prefix: str) -> dict[str, Any]:
    known = [f.name for f in fields(kind)]
    values = dict(_mapping(value, prefix.rstrip(".") or "the file"))
    for key in values:
        if key not in known:
            raise UsageError(f"unknown key '{prefix}{key}', known are {', '.join(known)}")
    return {key: item for key, item in values.items() if item is not None}


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"key '{where}' must be a mapping, not {value!r}")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"key '{where}' must be text, not {value!r}")
    return value.strip()


def _path(value: Any, where: str, folder: Path) -> Path:
    if isinstance(value, Path):
        return folder / value
    return folder / Path(_text(value, where)).expanduser()


def _texts(value: Any, where: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, str) for v in values):
        raise UsageError(f"key '{where}' must be a list of names, not {value!r}")
    return tuple(values)


def _engines(value: Any, where: str) -> tuple[str, ...]:
    names = _texts(value, where)
    return all_engines() if "all" in names else tuple(dict.fromkeys(names))


def _sizes(value: Any, where: str) -> tuple[int, ...]:
    values = value if isinstance(value, (list, tuple)) else [value]
    check_sizes(values, where)
    return tuple(sorted(set(values)))


def _axis(value: Any, where: str) -> int | None:
    if value is None or value in (-1, "?", "n"):
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(
            f"key '{where}': {value!r} is no size: give an integer, or n for the batch"
        )
    return value
