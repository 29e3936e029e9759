"""Wheels of compiled models as their users install them: pip, NumPy, nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import venv
import zipfile
from dataclasses import replace
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import tfaot
from tfaot.errors import UsageError
from tfaot.packaging.export.vendored import (
    OUTSIDE,
    RUNTIME_MODULES,
    imported_modules,
    is_standard,
    redirect_imports,
    vendored_sources,
)
from tfaot.packaging.export.wheel import module_name, python_version
from tfaot.packaging.manifest import read_manifest


@pytest.fixture(scope="module")
def wheels(artifacts, tmp_path_factory):
    """Wheels of two models, by model."""
    folder = tmp_path_factory.mktemp("wheels")
    files = tfaot.export([artifacts["dense"], artifacts["several"]], folder, wheel=True)
    return dict(zip(("dense", "several"), files, strict=True))


class Environment:
    """A fresh virtual environment that has NumPy, and no more."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.python = folder / "bin" / "python"
        packages = Path(self.run("import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        numpy_files = metadata.distribution("numpy").files or []
        root = Path(np.__file__).parents[1]
        for entry in sorted({Path(file).parts[0] for file in numpy_files} - {".."}):
            (packages / entry).symlink_to(root / entry)

    def run(self, program: str) -> str:
        done = subprocess.run(
            [self.python, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.python.parent,
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pip(self, *arguments: str | Path) -> str:
        command = [sys.executable, "-m", "pip", "--python", self.python, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "No module named pip" in done.stderr or "no such option: --python" in done.stderr:
            pytest.skip("needs pip 22.3 or later: python -m ensurepip --upgrade")
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def environment(wheels, tmp_path_factory):
    """An environment in which both wheels are installed by pip, without a network."""
    made = Environment(tmp_path_factory.mktemp("fresh") / "venv")
    made.pip("install", "--no-index", "--disable-pip-version-check", *wheels.values())
    return made


def test_installed_model_gives_the_same_bytes(artifacts, environment):
    output = environment.run(
        "import sys, numpy as np\n"
        "from dense import model\n"
        "x = np.arange(27, dtype=np.float32).reshape(3, 9) / np.float32(9)\n"
        "y = model(x)\n"
        "into = np.empty_like(y); model.run_into([into], x)\n"
        "call = model.bind(x); call()\n"
        "assert (into == y).all() and (call.outputs[0] == y).all()\n"
        "assert [t.name for t in model.inputs] == ['features']\n"
        "assert model.outputs[0].shape(3) == (3, 3)\n"
        "print(y.tobytes().hex())\n"
        "others = {'tfaot', 'llvmlite', 'jinja2', 'tensorflow', 'ml_dtypes'} & set(sys.modules)\n"
        "assert not others, others"
    )

    x = np.arange(27, dtype=np.float32).reshape(3, 9) / np.float32(9)
    assert output.strip() == artifacts["dense"].load()(x).tobytes().hex()


def test_models_live_side_by_side(environment):
    output = environment.run(
        "import dense, several, pickle, numpy as np\n"
        "x = np.zeros((2, 5), np.float32), np.zeros((2, 1), np.int32), np.ones((2, 3))\n"
        "result = pickle.loads(pickle.dumps(several.model))(*x)\n"
        "print(sorted(result), dense.__version__)\n"
        "try:\n"
        "    several.model(x[0])\n"
        "except several.InputError as error:\n"
        "    print(error)"
    )

    first, second = output.splitlines()
    assert first == "['positive', 'square', 'y'] 0.0.0"
    assert second.startswith("input 'id' is missing")


def test_pip_knows_what_is_installed(environment):
    listed = json.loads(environment.pip("list", "--format=json", "--disable-pip-version-check"))

    assert {p["name"] for p in listed} == {"numpy", "tfaot-model-dense", "tfaot-model-several"}
    environment.pip("check", "--disable-pip-version-check")


def test_another_cpu_is_refused_at_import_by_name(artifacts, tmp_path):
    manifest = read_manifest(artifacts["dense"].manifest)
    target = replace(manifest.target, cpus=("x86-64-v3",), features=("+amx-tile", "+sse4a", "+tbm"))
    (tmp_path / "dense.json").write_text(replace(manifest, target=target).to_json())
    (tmp_path / "dense.o").write_bytes(artifacts["dense"].object.read_bytes())
    (file,) = tfaot.export(tmp_path, tmp_path, wheel=True)
    with zipfile.ZipFile(file) as opened:
        opened.extractall(tmp_path / "site")

    program = (
        "try:\n    import dense\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )

    assert done.stdout.startswith("UnsuitableMachineError ")
    assert "can't run here: compiled for x86-64-v3, this CPU lacks" in done.stdout


@pytest.mark.parametrize("name", ["dense", "several"])
def test_wheel_is_as_the_format_says(wheels, name):
    file = wheels[name]
    stem = f"tfaot_model_{name}-0.0.0"
    distribution, version, python, abi, platforms = file.stem.split("-")
    assert (f"{distribution}-{version}", python, abi) == (stem, "py3", "none")
    with zipfile.ZipFile(file) as opened:
        contents = {entry: opened.read(entry) for entry in opened.namelist()}
        assert all(entry.date_time == (1980, 1, 1, 0, 0, 0) for entry in opened.infolist())
    tags = Parser().parsestr(contents[f"{stem}.dist-info/WHEEL"].decode())
    assert tags["Wheel-Version"] == "1.0"
    assert tags["Root-Is-Purelib"] == "false"
    assert tags.get_all("Tag") == [f"py3-none-{p}" for p in platforms.split(".")]
    about = Parser().parsestr(contents[f"{stem}.dist-info/METADATA"].decode())
    assert about["Name"] == f"tfaot-model-{name}"
    assert about["Version"] == "0.0.0"
    assert about.get_all("Requires-Dist") == ["numpy>=1.26"]

    lines = contents[f"{stem}.dist-info/RECORD"].decode().splitlines()
    record = {path: (digest, size) for path, digest, size in (line.split(",") for line in lines)}
    assert record.keys() == contents.keys()
    assert record.pop(f"{stem}.dist-info/RECORD") == ("", "")
    for path, (digest, size) in record.items():
        found = base64.urlsafe_b64encode(hashlib.sha256(contents[path]).digest()).decode()
        assert (digest, int(size)) == (f"sha256={found.rstrip('=')}", len(contents[path]))


def test_modules_carried_are_those_that_loading_imports():
    folder = Path(tfaot.__file__).parents[1]
    waiting, found, outside = ["tfaot.runtime.model"], set(), set()
    while waiting:
        module = waiting.pop()
        if not module.startswith("tfaot"):
            outside.add(module.split(".")[0])
        elif module not in found:
            found.add(module)
            path = folder / Path(*module.split("."))
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            waiting += imported_modules(path.read_text())
            waiting.append(module.rpartition(".")[0])
        found.discard("tfaot")
        waiting = [m for m in waiting if m != "tfaot"]

    assert tuple(sorted(found)) == RUNTIME_MODULES
    assert {m for m in outside if not is_standard(m)} == OUTSIDE


def test_imports_are_led_to_the_private_copy():
    text = (
        "from __future__ import annotations\n"
        "from tfaot.errors import (\n    A,\n)\n"
        "def f():\n    from tfaot.ir import x\n"
        'text = "from tfaot.errors import B"\n'
    )

    assert redirect_imports(text, "m._tfaot") == (
        "from __future__ import annotations\n"
        "from m._tfaot.errors import (\n    A,\n)\n"
        "def f():\n    from m._tfaot.ir import x\n"
        'text = "from tfaot.errors import B"\n'
    )
    for path, source in vendored_sources("m").items():
        assert path.startswith("_tfaot/")
        compile(source, path, "exec")


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("1", "1"),
        ("v1.02.0", "1.2.0"),
        ("1.2-rc1", "1.2rc1"),
        ("2.0beta", "2.0b0"),
        ("1.0.post2", "1.0.post2"),
        ("1.0.dev3+Run-7", "1.0.dev3+run.7"),
    ],
)
def test_versions_become_pythons(given, normal):
    assert python_version(given) == normal


@pytest.mark.parametrize("given", ["latest", "2024_x", "1..2"])
def test_what_is_no_version_for_python_is_refused(artifacts, tmp_path, given):
    with pytest.raises(UsageError, match="--model-version"):
        tfaot.export(artifacts["dense"], tmp_path / "out", wheel=True, version=given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "module"),
    [("tagger", "tagger"), ("json", "json_model"), ("numpy", "numpy_model"), ("pass_", "pass_")],
)
def test_module_hides_none_of_pythons(name, module):
    assert module_name(name) == module
