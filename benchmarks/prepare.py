"""From a model's definition to the files that each engine loads, which are kept for next time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench_models import BenchModel, definitions_digest

from tfaot.engines import Engine, EngineError
from tfaot.engines.converter import Converter, freeze_model
from tfaot.engines.files import ModelFiles, Origin

HERE = Path(__file__).resolve().parent


def default_work_folder() -> Path:
    """Where models and conversions are kept: $TFAOT_BENCH_CACHE or the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("TFAOT_BENCH_CACHE") or cache / "tfaot-bench")


def make_models(work: Path, models: Sequence[BenchModel]) -> None:
    """Make the models that have no origin of their own, in one process with Keras."""
    folder = _sources(work)
    names = [m.name for m in models if m.origin is None]
    missing = [n for n in names if not (folder / f"{n}.keras").exists()]
    if missing:
        subprocess.run(
            [sys.executable, str(HERE / "bench_models.py"), str(folder), *missing],
            check=True,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        )


def freeze(work: Path, model: BenchModel, converter: Converter) -> ModelFiles:
    """The frozen model.

    Raises:
        EngineError: it can't be frozen.
    """
    origin = model.origin or Origin(str(_sources(work) / f"{model.name}.keras"))
    folder = work / f"{model.name}-{definitions_digest()}"
    return freeze_model(origin, folder, converter)


def prepare_engines(
    files: ModelFiles,
    engines: Mapping[str, Engine],
    batches: Sequence[int],
    converter: Converter,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, str]:
    """Prepare a model for all engines; per engine that can't, the reason."""
    failed: dict[str, str] = {}
    for name, engine in engines.items():
        progress(f"{files.folder.name.rsplit('-', 1)[0]}: preparing {engine.title}")
        try:
            engine.prepare(files, [b for b in batches if engine.supports(b)], converter)
        except EngineError as error:
            failed[name] = str(error)
    return failed


def _sources(work: Path) -> Path:
    return work / f"models-{definitions_digest()}"
