"""The page in headless Chromium: what folds, what the script adds, both themes, no error."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from html_reader import Page

PROBE = """
<script>
(() => {
  const found = {};
  const tree = [...document.querySelectorAll(".tree details")];
  const open = () => tree.filter((d) => d.open).length;
  const button = (label) =>
    [...document.querySelectorAll("button")].find((b) => b.textContent === label);
  const shown = (id) => document.getElementById(id).checkVisibility();
  const back = () => getComputedStyle(document.body).backgroundColor;
  found.first = open();
  document.querySelector(".layer > summary").click();
  found.clicked = open();
  button("Unfold all").click();
  found.unfolded = open() === tree.length;
  button("Fold all").click();
  found.folded = open();
  found.copies = document.querySelectorAll(".snippet button").length;
  for (const theme of ["light", "dark"]) {
    document.getElementById(`theme-${theme}`).click();
    found[theme] = back();
  }
  document.getElementById("theme-auto").click();
  found.auto = back();
  found.charts = [...document.querySelectorAll("svg")].every(
    (s) => s.closest("details:not([open])") || s.getBoundingClientRect().height > 50);
  found.wide = document.documentElement.scrollWidth;
  document.body.dataset.found = JSON.stringify(found);
})();
</script>
"""


@dataclass
class Browser:
    """Headless Chromium; `home` is its folder."""

    program: str
    home: Path

    def run(self, url: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Open a page; fails where the page writes to the console."""
        command = [self.program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--enable-logging=stderr", "--no-first-run", f"--user-data-dir={self.home}"]
        done = subprocess.run(
            [*command, *options, url],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "HOME": str(self.home)},
        )
        assert done.returncode == 0, done.stderr
        assert "CONSOLE" not in done.stderr, done.stderr
        return done


@pytest.fixture(scope="module")
def browser(program, tmp_path_factory):
    return Browser(program("chromium", "chromium"), tmp_path_factory.mktemp("chromium"))


def probed(browser, page, tmp_path, *options):
    import json

    copy = tmp_path / "probe.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"))
    done = browser.run(copy.as_uri(), "--dump-dom", "--window-size=420,800", *options)
    (found,) = [a["data-found"] for a in Page(done.stdout).all("body")]
    return json.loads(found)


LIGHT, DARK = "rgb(255, 255, 255)", "rgb(20, 23, 27)"


@pytest.mark.parametrize(("preference", "colour"), [("0", DARK), ("1", LIGHT)])
def test_folding_buttons_and_colours(browser, pages, tmp_path, preference, colour):
    setting = f"--blink-settings=preferredColorScheme={preference}"
    found = probed(browser, pages["odd"], tmp_path, setting)
    assert found["first"] == 0
    assert found["clicked"] == 1
    assert found["unfolded"]
    assert found["folded"] == 0
    assert found["copies"] == 3
    assert (found["light"], found["dark"], found["auto"]) == (LIGHT, DARK, colour)
    assert found["charts"]
    assert found["wide"] <= 500, "no scrolling sideways on a telephone"


def test_a_link_to_a_kernel_unfolds_it(browser, pages):
    dom = browser.run(pages["odd"].as_uri() + "#kernel-0", "--dump-dom").stdout
    kernel = re.search(r'<details class="layer"( open="")?>.{0,600}?id="kernel-0"', dom, re.S)
    assert kernel
    assert kernel[1], "the layer around it is open"


def test_pictures_in_dark_and_light(browser, pages, tmp_path):
    sizes = []
    for name, preference in (("dark", "0"), ("light", "1")):
        picture = tmp_path / f"{name}.png"
        browser.run(
            pages["timed"].as_uri(),
            f"--screenshot={picture}",
            "--window-size=1040,2000",
            f"--blink-settings=preferredColorScheme={preference}",
        )
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        sizes.append(picture.read_bytes())
    assert sizes[0] != sizes[1]
