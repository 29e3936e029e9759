"""Exports of compiled models for those who build or install them.

Input: compiled models (`models.py`). Output: an install tree with a CMake package, pkg-config and
SCRAM files (`tree.py`), the same as one zip archive (`archive.py`), or Python wheels (`wheel.py`);
written all or none (`files.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfaot.errors import UsageError
from tfaot.packaging.export.archive import zip_archive
from tfaot.packaging.export.files import write_files
from tfaot.packaging.export.models import read_models
from tfaot.packaging.export.tree import FOLDER, TreeOptions, install_tree, tool_name
from tfaot.packaging.export.wheel import wheel as make_wheel


def export_models(
    paths: Sequence[str | Path],
    output_dir: str | Path | None = None,
    *,
    zip: bool = False,
    wheel: bool = False,
    version: str | None = None,
    options: TreeOptions | None = None,
) -> tuple[Path, ...]:
    """Write an install tree of compiled models, or archives of them.

    Args:
        paths: manifests NAME.json, or folders of which all models are taken.
        output_dir: the folder that is written to; by default `tfaot-models` for a tree, and the
            current one for archives.
        zip: one zip archive with the tree, instead of the tree.
        wheel: a Python wheel of each model, instead of the tree.
        version: the version that the packages get; by default each model's own, or 0.0.0.
        options: names in the tree.

    Returns:
        The files.

    Raises:
        TfaotError: a model or an option is at fault, or files can't be written; none are then.
    """
    options = options or TreeOptions()
    models = read_models(paths, version)
    if options.tool_name is not None and len(models) > 1:
        raise UsageError(f"--tool-name is for one model, not for {len(models)}")
    contents: dict[str, tuple[bytes, ...]] = {}
    if wheel:
        for model in models:
            file, data = make_wheel(model, options.tool_name)
            contents[file] = (data,)
    if zip:
        tree = install_tree(models, options)
        stem = tool_name(models[0], options) if len(models) == 1 else FOLDER
        data = zip_archive({f"{FOLDER}/{path}": pieces for path, pieces in tree.items()})
        contents[f"{stem}.zip"] = (data,)
    if not contents:
        contents = install_tree(models, options)
        return write_files(FOLDER if output_dir is None else output_dir, contents)
    return write_files("." if output_dir is None else output_dir, contents)


__all__ = ["TreeOptions", "export_models"]
