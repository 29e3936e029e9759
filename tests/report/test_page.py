"""What a report shows, that it is HTML that asks nobody for anything, and that names stay names."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
from html_reader import Page
from report_models import MODELS, ODD

from tfaot.packaging.manifest import read_manifest
from tfaot.reporting.collect import Facts
from tfaot.reporting.page import render

ALL = [*sorted(MODELS), "timed", "external"]
SECTIONS = (
    "summary use graph passes memory weights accuracy kernels batches versions".split()  # noqa: SIM905
)


@pytest.mark.parametrize("name", ALL)
def test_a_page_is_well_formed_and_complete(read, name):
    page = read(name)
    assert [a["id"] for a in page.all("section")] == SECTIONS
    assert len(page.all("h1")) == 1
    assert len(page.texts["h2"]) == len(SECTIONS)
    identifiers = [a["id"] for _, a in page.elements if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    links = [a["href"] for a in page.all("a")]
    assert links
    assert all(link[1:] in identifiers for link in links), "each link leads to a place on the page"


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_fetched(pages, read, name):
    html = pages[name].read_text(encoding="utf-8")
    assert not re.search(r"(https?:|file:|@import|\burl\()", html)
    assert [a["href"] for a in read(name).all("link")] == ["data:,"]
    assert not any("src" in a for _, a in read(name).elements)
    assert len(html) < 200_000


def luminance(colour):
    """The relative luminance of #rrggbb, as WCAG defines it."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_words_stand_out_in_both_themes(read):
    style = read("odd").texts["style"][0]
    themes = [
        dict(re.findall(r"--(\w+): (#\w{6});", block))
        for block in re.findall(r"\{\s+color-scheme: \w+;(.*?)\}", style, re.S)
    ]
    assert len(themes) == 3
    assert themes[1] == themes[2]
    for theme in themes:
        words = [(w, b) for w in ("text", "muted", "link") for b in ("back", "panel")]
        words += [("inside", f"c{n}") for n in range(6)]
        for word, back in words:
            low, high = sorted((luminance(theme[word]), luminance(theme[back])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (word, back)


@pytest.mark.parametrize("name", ALL)
def test_a_page_can_be_heard(read, name):
    page = read(name)
    assert page.all("html")[0]["lang"] == "en"
    tables, captions = page.all("table"), page.texts["caption"]
    assert len(tables) == len(captions)
    assert all("scope" in a for a in page.all("th"))
    for chart in page.charts():
        title = chart.find("title") if chart.find("title") is not None else chart[0]
        assert chart.get("role") == "img"
        assert chart.get("aria-labelledby") == title.get("id")
        assert len(title.text) > 30
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_names_are_text_and_nothing_else(read):
    page = read("odd")
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert "<script>alert(1)</script>" in page.words
    assert 'scores & "more"' in page.words
    assert "<img src=x onerror=alert(2)> & co" in page.words
    assert "A <b>B</b>" in page.words
    layer = ODD.split("/MatMul")[0].removeprefix("model/")
    assert any(layer in t for t in page.section("graph").texts["b"])
    assert layer in page.section("weights").words


def test_the_graph_leads_from_layers_to_kernels_to_ops(read):
    graph = read("odd").section("graph")
    assert [a["class"] for a in graph.all("details") if "class" in a][:2] == ["layer", "kernel"]
    assert next(a["id"] for a in graph.all("details") if "id" in a) == "kernel-0"
    assert {"dot", "tanh", "add"} <= set(graph.texts["code"])
    assert "f32[B,32]" in graph.words
    assert "Writes output" in graph.words
    flow = next(c for c in graph.charts() if c.get("aria-labelledby") == "flow-title")
    assert "input <script>alert(1)</script>" in [t.text for t in flow.iter("text")]


def test_a_model_without_batch_axis(read):
    assert "Has no batch axis" in read("plain").section("summary").words
    assert "per call" in read("plain").section("graph").words
    assert "No value is kept" in read("plain").section("memory").words


def test_a_loop_is_told(read):
    assert "Runs inside" in read("loop").section("graph").words
    assert "while" in read("loop").section("graph").words
    assert "state" in read("loop").section("memory").texts["th"]


def test_what_was_folded_and_fused(read):
    passes = read("odd").section("passes")
    assert "fold-affine" in passes.texts["th"]
    assert "multiply bn/mul" in passes.words
    assert "folded into the weights of 1 dots" in passes.words
    assert "No scale or shift was folded" in read("loop").section("passes").words


def test_memory_is_drawn_as_the_manifest_says(artifacts, read):
    manifest = json.loads(artifacts["odd"].manifest.read_text(encoding="utf-8"))
    (plan,) = manifest["internals"]["plans"]
    memory = read("odd").section("memory")
    (chart,) = memory.charts()
    rects = list(chart.iter("rect"))
    assert len(rects) == len(plan["buffers"])
    total = plan["workspace"][0]
    for rect, buffer in zip(rects, plan["buffers"], strict=True):
        assert float(rect.get("height")) == pytest.approx(280 * buffer["size"][0] / total, abs=0.1)
    assert f"Rows run in tiles of {plan['tile']}" in memory.words
    assert "64 + 64 n" in read("mixing").section("memory").words
    assert len(read("sized").section("memory").charts()) == 2
    assert "Batch 5" in read("sized").section("memory").texts["h3"]


def test_time_is_measured_where_it_can_be(read):
    batches = read("odd").section("batches")
    assert len(batches.charts()) == 2
    assert {"1", "64", "1024"} <= set(batches.texts["th"])
    assert "make the report with --model" in read("odd").section("kernels").words
    kernels = read("timed").section("kernels")
    assert "per call of 64 rows" in kernels.words
    assert len(kernels.all("a")) >= 4
    assert "of the time" in read("timed").section("graph").words
    assert "times its kernels" in read("timed").section("batches").words
    assert "--no-run" in read("loop").section("batches").words


def test_accuracy_with_its_worst_rows(artifacts):
    manifest = read_manifest(artifacts["odd"].manifest)
    row = {"batch": 33, "index": [7, 1], "actual": 0.25000003, "expected": 0.25, "ulp": 1.5}
    output = {
        "name": "<i>y</i>",
        "worst_ulp": 1.5,
        "tensorflow_ulp": 2.25,
        "bound_ulp": 8.0,
        "finite": 1.0,
        "excused": 0,
        "excused_ulp": 0.0,
        "rows": [row],
    }
    verification = {
        "batch_sizes": [1, 33],
        "reference": "float64 evaluation of the HLO",
        "cpus": ["x86-64-v3"],
        "outputs": [output],
    }
    page = Page(render(Facts(replace(manifest, verification=verification), None)))
    accuracy = page.section("accuracy")
    assert "[7, 1]" in accuracy.texts["th"]
    assert {"0.25000003", "2.25", "1.5"} <= set(accuracy.texts["td"])
    assert "Worst rows of <i>y</i>" in accuracy.texts["caption"]


def test_an_artifact_that_tells_little(artifacts):
    """Of a manifest without the section `internals` and without verification."""
    manifest = replace(read_manifest(artifacts["loop"].manifest), internals=None)
    page = Page(render(Facts(manifest, None)))
    assert "compile the model again" in page.section("memory").words
    assert "without verification" in page.section("accuracy").words
    assert "tanh" in page.section("graph").words


def test_weights_outside_are_told(read):
    assert "in odd.weights" in read("external").section("summary").words
    assert read("external").section("weights").texts["code"]


def test_a_large_model_gives_a_page_of_a_bounded_size(artifacts):
    manifest = read_manifest(artifacts["loop"].manifest)
    kernel = manifest.kernels[0]
    details = {**kernel.details, "opcodes": ["add"] * 300}
    many = replace(manifest, internals=None, kernels=(replace(kernel, details=details),) * 3000)
    html = render(Facts(many, None))
    assert len(html) < 2_000_000
    assert "more kernels are left out" in html


@pytest.mark.parametrize("name", [*sorted(MODELS), "external"])
@pytest.mark.parametrize("language", ["C++", "C", "Python"])
def test_snippets_run(artifacts, read, program, tmp_path, name, language):
    texts = dict(zip(["C++", "C", "Python"], read(name).section("use").texts["code"], strict=True))
    folder = artifacts[name].manifest.parent
    if language == "Python":
        (tmp_path / "main.py").write_text(texts[language])
        done = subprocess.run(
            [sys.executable, tmp_path / "main.py"], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout
        return
    compiler, standard, suffix = {
        "C++": ("c++", "-std=c++17", "cpp"),
        "C": ("cc", "-std=c11", "c"),
    }[language]
    source = tmp_path / f"main.{suffix}"
    source.write_text(texts[language])
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    binary = tmp_path / "main"
    built = subprocess.run(
        [
            *(program(compiler, "g++"), standard, *warnings, f"-I{folder}"),
            *(source, artifacts[name].object, "-o", binary),
        ],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert subprocess.run([binary], cwd=folder).returncode == 0
