"""Plots: the files, what their axes say, which curves they have."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_results import PROFILE, states

from tfaot.errors import UsageError
from tfaot.profiling import plots
from tfaot.profiling.plots import PlotOptions, draw_all, memory_curves, runtime_curves
from tfaot.profiling.results import MemoryResult, Profile, RuntimeResult

pyplot = pytest.importorskip(
    "matplotlib.pyplot", reason="matplotlib draws the plots: pip install 'tfaot[plot]'"
)


def runtimes(model: str = "a", engine: str = "IREE", factor: float = 1.0, threads: int = 1):
    return tuple(
        RuntimeResult(
            model, engine.lower(), engine, "1", b, threads, (factor * b, factor * b * 2.0)
        )
        for b in (8, 1, 2)
    )


def several(engines: int, models: int) -> Profile:
    found = [
        r
        for m in range(models)
        for e in range(engines)
        for r in runtimes(f"model {m}", f"engine {e}", 1.0 + e + m)
    ]
    return Profile({}, {}, tuple(found))


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch):
    """The figures that were drawn, which stay open."""
    found = {}
    save = plots._save

    def keep(pyplot, figure, folder, name, formats):
        found[name] = figure
        monkeypatch.setattr(pyplot, "close", lambda figure: None)
        return save(pyplot, figure, folder, name, formats)

    monkeypatch.setattr(plots, "_save", keep)
    yield found
    monkeypatch.undo()
    pyplot.close("all")


def test_files_of_both_formats(tmp_path: Path) -> None:
    files = draw_all([PROFILE], tmp_path / "new", PlotOptions())
    names = ["runtime", "memory-threads", "memory-parts"]
    assert [f.name for f in files] == [f"{n}.{s}" for n in names for s in ("png", "pdf")]
    for path in files:
        head = b"\x89PNG" if path.suffix == ".png" else b"%PDF"
        assert path.read_bytes().startswith(head)


def test_the_same_numbers_give_the_same_files(tmp_path: Path) -> None:
    first = draw_all([PROFILE], tmp_path / "a", PlotOptions())
    second = draw_all([PROFILE], tmp_path / "b", PlotOptions())
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name


def test_axes_say_what_they_are(tmp_path: Path, figures) -> None:
    draw_all([PROFILE], tmp_path, PlotOptions(title="left", right="some CPU"))
    (axes,) = figures["runtime"].axes
    assert axes.get_xlabel() == "Batch size"
    assert axes.get_ylabel() == "Runtime / batch size [ms]"
    assert axes.get_title("left") == "left"
    assert axes.get_title("right") == "some CPU"
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    assert axes.get_ylim()[0] == 0
    (axes,) = figures["memory-threads"].axes
    assert axes.get_xlabel() == "Threads"
    assert "[MB]" in axes.get_ylabel()
    (axes,) = figures["memory-parts"].axes
    assert "[MB]" in axes.get_xlabel()


def test_logarithmic_axes_and_labels(tmp_path: Path, figures) -> None:
    options = PlotOptions(
        x_log=True, y_log=True, per_row=False, x_label="rows", y_label="", y_min=0.1, y_max=100
    )
    draw_all([PROFILE], tmp_path, options)
    (axes,) = figures["runtime"].axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("rows", "Runtime [ms]")
    assert axes.get_ylim() == (0.1, 100)
    assert figures["memory-threads"].axes[0].get_yscale() == "log"


def test_curves_are_medians_with_a_band() -> None:
    (curve,) = runtime_curves([("", r) for r in runtimes()], per_row=True)
    assert curve.x == (1, 2, 8)
    assert curve.middle == (1.5, 1.5, 1.5)
    assert curve.low == pytest.approx([1.16] * 3)
    assert curve.high == pytest.approx([1.84] * 3)
    (curve,) = runtime_curves([("", r) for r in runtimes()], per_row=False)
    assert curve.middle == (1.5, 3.0, 12.0)


def test_curves_are_called_by_what_differs() -> None:
    def names(*results: RuntimeResult, sources: str = "xxxxxxxxxxxx") -> list[tuple[str, ...]]:
        found = zip(sources, results, strict=False)
        return [c.identity.names for c in runtime_curves(list(found), per_row=True)]

    assert names(*runtimes()) == [("IREE",)]
    assert names(*runtimes(), *runtimes(engine="tfaot")) == [("IREE",), ("tfaot",)]
    assert names(*runtimes(), *runtimes(threads=2)) == [("1 thread",), ("2 threads",)]
    assert names(*runtimes(), *runtimes(), sources="xxxyyy") == [("x",), ("y",)]


def test_engines_have_colours_and_models_line_styles() -> None:
    results = [("", r) for r in several(3, 2).runtime]
    found = [(c.identity.color, c.identity.style) for c in runtime_curves(results, per_row=True)]
    assert found == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize(("engines", "models", "entries"), [(3, 2, 6), (7, 3, 10), (9, 4, 13)])
def test_legends_stay_readable(
    tmp_path: Path, figures, engines: int, models: int, entries: int
) -> None:
    draw_all([several(engines, models)], tmp_path, PlotOptions(formats=("png",)))
    figure = figures["runtime"]
    legend = figure.axes[0].get_legend()
    assert len(legend.get_texts()) == entries
    if entries > 10:
        frame = legend.get_window_extent()
        assert frame.x0 > figure.axes[0].get_window_extent().x1
        assert frame.x1 <= figure.bbox.x1


def test_memory_over_threads_is_of_most_copies() -> None:
    results = [
        ("", MemoryResult("a", "iree", "IREE", "1", 4, copies, states(copies)))
        for copies in (1, 4, 2)
    ]
    ((resident, private),) = memory_curves(results)
    assert resident.x == (1, 4)
    assert resident.middle == pytest.approx([100e-6, 260e-6])
    assert private.middle == pytest.approx([40e-6, 160e-6])


def test_error_bars(tmp_path: Path, figures) -> None:
    draw_all([several(1, 1)], tmp_path, PlotOptions(bars=True, formats=("png",)))
    (axes,) = figures["runtime"].axes
    assert len(axes.containers) == 1


def test_labels_for_every_curve(tmp_path: Path, figures) -> None:
    draw_all([several(2, 1)], tmp_path, PlotOptions(labels=("one", "two"), formats=("png",)))
    texts = figures["runtime"].axes[0].get_legend().get_texts()
    assert [t.get_text() for t in texts] == ["one", "two"]
    with pytest.raises(UsageError, match="--labels has 1 labels for 2 curves: engine 0; engine 1"):
        draw_all([several(2, 1)], tmp_path, PlotOptions(labels=("one",)))


def test_wrong_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="format 'gif' is not known: give png or pdf"):
        PlotOptions(formats=("gif",))
    with pytest.raises(UsageError, match="give more than 0"):
        PlotOptions(y_log=True, y_min=0.0)
    with pytest.raises(UsageError, match="nothing to draw of memory"):
        draw_all([several(1, 1)], tmp_path, PlotOptions(), kinds=("memory",))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"matplotlib, which is missing: pip install 'tfaot\[plot"):
        draw_all([PROFILE], tmp_path, PlotOptions())
