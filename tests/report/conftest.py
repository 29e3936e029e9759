import shutil

import pytest
from html_reader import read_page
from report_models import MODELS, compile_model

import tfaot


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """The models compiled, by name; `timed` has timers, `external` a file of weights."""
    folder = tmp_path_factory.mktemp("artifacts")
    made = {name: compile_model(folder, name) for name in MODELS}
    made["external"] = compile_model(folder / "external", "odd", weights="external")
    made["timed"] = compile_model(folder / "timed", "loop", timers=True)
    return made


@pytest.fixture(scope="session")
def pages(artifacts, tmp_path_factory):
    """A report of each, made without running it but for `odd` and `timed`."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfaot.reporting.timing.SECONDS_EACH", 0.02)
        return {
            name: tfaot.report(artifact, folder / f"{name}.html", run=name in ("odd", "timed"))
            for name, artifact in artifacts.items()
        }


@pytest.fixture(scope="session")
def read(pages):
    """`read(name)`: a page, parsed."""
    return lambda name: read_page(pages[name])


@pytest.fixture(scope="session")
def program():
    """`program(name, package)`: its path; skips where it is not installed."""

    def find(name, package):
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"needs {name}: apt-get install {package}")
        return path

    return find
