"""What the manifest tells of the compiler's work: that it is true, complete, and read strictly."""

import json
from itertools import combinations

import pytest
from report_models import MODELS, compile_model

from tfaot.errors import ArtifactError
from tfaot.packaging.internals import read_internals
from tfaot.packaging.manifest import parse_manifest, read_manifest


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    folder = tmp_path_factory.mktemp("internals")
    return {name: read_manifest(compile_model(folder, name).manifest) for name in MODELS}


def at(coefficients, rows):
    return sum(c * rows**k for k, c in enumerate(coefficients))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_buffers_in_use_at_once_share_no_byte_and_lie_in_the_workspace(manifests, name):
    internals = read_internals(manifests[name])
    assert len(internals.plans) == max(len(MODELS[name].static), 1)
    for plan in internals.plans:
        for rows in (0, 1, 7, 64):
            places = [
                (at(b.offset, rows), at(b.offset, rows) + at(b.size, rows), b) for b in plan.buffers
            ]
            assert all(end <= at(plan.workspace, rows) for _, end, _ in places)
            for (s, e, a), (t, f, b) in combinations(places, 2):
                together = a.first <= b.last and b.first <= a.last
                assert not (together and s < f and t < e), (a, b)


def test_the_workspace_is_the_one_of_the_manifest(manifests):
    manifest = manifests["odd"]
    (plan,) = read_internals(manifest).plans
    assert at(plan.workspace, 0) == manifest.workspace.bytes
    assert plan.tile is not None
    grows = read_internals(manifests["mixing"]).plans[0]
    assert len(grows.workspace) == 2
    assert grows.tile is None


def test_weights_by_layer_add_up_to_the_blob(manifests):
    for manifest in manifests.values():
        stored = sum(w.bytes for w in read_internals(manifest).weights)
        assert stored <= manifest.weights_bytes <= stored + 64 * 8
    weights = read_internals(manifests["odd"]).weights
    assert {(w.layer, w.shape, w.packed) for w in weights} >= {
        ("model/out/MatMul", "f32[32,3]", True),
    }
    # Both batch sizes use one blob.
    assert len(read_internals(manifests["sized"]).weights) == len(weights)


def test_foldings_and_passes_are_told(manifests):
    internals = read_internals(manifests["odd"])
    (folding,) = internals.foldings
    assert folding.into == 'model/<b>dense</b> & "co"\'/MatMul'
    assert "multiply model/bn/mul" in folding.after
    fold = next(p for p in internals.passes if p.name == "fold-affine")
    assert fold.change["multiply"] == -1
    assert fold.after - fold.before == sum(fold.change.values())
    assert not read_internals(manifests["loop"]).foldings


def test_kernels_know_what_they_read_and_write(manifests):
    kernels = read_internals(manifests["odd"]).kernels
    assert kernels[0].reads == (-1,)
    assert kernels[-1].outputs == (0,)
    for number, kernel in enumerate(kernels[1:], 1):
        assert any(0 <= r < number for r in kernel.reads)
    loop = read_internals(manifests["loop"]).kernels
    inside = [n for n, k in enumerate(loop) if k.inside]
    assert inside
    assert all(loop[n].inside == ("rnn/while",) for n in inside)
    (product,) = [n for n in inside if "rnn/while/MatMul" in loop[n].main]
    assert 0 in loop[product].reads, "the loop begins with what the first kernel wrote"
    assert loop[-1].main == "rnn/cos"
    assert set(loop[-1].reads) & set(inside), "after the loop its result is read"


def test_the_same_model_gives_the_same_manifest(tmp_path, manifests):
    again = compile_model(tmp_path, "loop").manifest.read_text(encoding="utf-8")
    assert again == manifests["loop"].to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(more=1), "unknown field 'internals.more'"),
        (lambda d: d.pop("plans"), "field 'internals.plans' is missing"),
        (lambda d: d["weights"][0].update(bytes="4"), "internals.weights[0].bytes"),
        (lambda d: d["kernels"].pop(), "internals.kernels"),
        (lambda d: d["kernels"][0].update(reads=[99]), "internals.kernels[0]"),
        (lambda d: d["kernels"][0]["layers"].append(0), "internals.kernels[0]"),
        (lambda d: d["plans"][0]["buffers"][0].update(last=99), "internals.plans[0].buffers[0]"),
    ],
)
def test_a_corrupt_section_is_refused_when_it_is_read(manifests, change, message):
    data = json.loads(manifests["odd"].to_json())
    change(data["internals"])
    manifest = parse_manifest(json.dumps(data))  # what calls need is not in it
    with pytest.raises(ArtifactError, match="internals") as error:
        read_internals(manifest)
    assert message in str(error.value)


def test_a_manifest_without_the_section_is_read(manifests):
    data = json.loads(manifests["odd"].to_json())
    data["internals"] = None
    assert read_internals(parse_manifest(json.dumps(data))) is None
