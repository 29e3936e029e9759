"""Generated texts of an export: templates filled with a model's facts."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from tfaot.packaging.export.models import ExportModel


def render(template: str, values: Mapping[str, object]) -> bytes:
    """The template `template` of `packaging/templates/export` as UTF-8; nothing is escaped."""
    import jinja2  # here, so that the command line's help does not import it

    folder = resources.files("tfaot.packaging") / "templates" / "export"
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    text = (folder / template).read_text("utf-8")
    return environment.from_string(text).render(values).encode()


def summary(model: ExportModel) -> str:
    """One line about the model, without control characters."""
    text = model.manifest.source.description or f"The model {model.name}, compiled by tfaot"
    return one_line(text)


def one_line(text: str) -> str:
    """`text` with single spaces for whatever is white or can't be printed."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
