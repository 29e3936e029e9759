"""Configuration files, `aot_config.yaml`: what to compile and how, next to the model.

The keys are those of cms-tfaot. All may be left out; paths are relative to the file, and the
model's is `saved_model` where none is given. Anything unknown or ill-typed is a UsageError that
names the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfaot.errors import UsageError
from tfaot.options import DEFAULT_NAMESPACE, check_name, check_namespace

_KEYS = {
    "model": ("name", "version", "saved_model", "serving_key", "author", "description"),
    "compilation": ("batch_sizes", "namespace", "tf_xla_flags", "xla_flags"),
}

_DEFAULT_MODEL = "saved_model"


@dataclass(frozen=True)
class Config:
    """A configuration file; None and empty stand for what it leaves out."""

    saved_model: Path
    name: str | None = None
    version: str | None = None
    serving_key: str | None = None
    author: str | None = None
    description: str | None = None
    batch_sizes: tuple[int, ...] = ()
    namespace: str = DEFAULT_NAMESPACE
    tf_xla_flags: tuple[str, ...] = ()
    xla_flags: tuple[str, ...] = ()


def read_config(path: str | Path) -> Config:
    """The configuration in the file `path`.

    Raises:
        UsageError: the file is missing, no YAML, or has unknown or ill-typed keys.
    """
    path = Path(path)
    data = read_yaml(path)
    try:
        return _read(data, path.parent)
    except UsageError as error:
        raise UsageError(f"configuration '{path}': {error}") from None


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        UsageError: the file is missing or no YAML.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no configuration '{path}' (--config)") from None
    except UnicodeDecodeError:
        raise UsageError(f"configuration '{path}' is not UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"can't read configuration '{path}': {error.strerror}") from None
    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise UsageError(f"configuration '{path}' is nested too deeply") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"configuration '{path}' is no YAML: {reason}{place}") from None


def _read(data: Any, folder: Path) -> Config:
    sections = _mapping(data, "the file", tuple(_KEYS))
    model = _mapping(sections.get("model"), "model", _KEYS["model"])
    compilation = _mapping(
        sections.get("compilation", {}), "compilation", _KEYS["compilation"], optional=True
    )
    saved_model = _text(model, "model.saved_model")
    if saved_model is None and not (folder / _DEFAULT_MODEL).exists():
        raise UsageError(
            "key 'model.saved_model' is missing, and so is its default, the folder "
            f"'{_DEFAULT_MODEL}' beside the file: give the model's path"
        )
    name = _text(model, "model.name")
    namespace = _text(compilation, "compilation.namespace")
    return Config(
        saved_model=folder / Path(saved_model or _DEFAULT_MODEL).expanduser(),
        name=None if name is None else check_name(name),
        version=_text(model, "model.version", numbers=True),
        serving_key=_text(model, "model.serving_key"),
        author=_text(model, "model.author"),
        description=_text(model, "model.description"),
        batch_sizes=_batch_sizes(compilation.get("batch_sizes")),
        namespace=DEFAULT_NAMESPACE if namespace is None else check_namespace(namespace),
        tf_xla_flags=_flags(compilation, "compilation.tf_xla_flags"),
        xla_flags=_flags(compilation, "compilation.xla_flags"),
    )


def _mapping(
    value: Any, where: str, known: tuple[str, ...], optional: bool = False
) -> Mapping[str, Any]:
    if value is None and optional:
        return {}
    if not isinstance(value, dict):
        missing = "is missing or" if value is None else "is"
        raise UsageError(f"{where} {missing} no mapping: expected keys {', '.join(known)}")
    for key in value:
        if key not in known:
            place = "" if where == "the file" else f"{where}."
            raise UsageError(f"unknown key '{place}{key}', known are {', '.join(known)}")
    return value


def _text(section: Mapping[str, Any], where: str, numbers: bool = False) -> str | None:
    value = section.get(where.rpartition(".")[2])
    if value is None:
        return None
    if numbers and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)  # an unquoted version such as 1.0
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"key '{where}' must be text, not {value!r}")
    return value.strip()


def _batch_sizes(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    values = value if isinstance(value, list) else [value]
    for size in values:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise UsageError(
                f"key 'compilation.batch_sizes' must be a list of positive integers, not {size!r}"
            )
    return tuple(sorted(set(values)))


def _flags(section: Mapping[str, Any], where: str) -> tuple[str, ...]:
    value = section.get(where.rpartition(".")[2])
    if value is None:
        return ()
    values = value.split() if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise UsageError(f"key '{where}' must be a list of flags, not {value!r}")
    return tuple(values)
