"""The picture of a report in the README: its first half in light colours, its second in dark ones.

    tfaot report poster.json -o report.html --model MODEL
    python tools/report_image.py report.html docs/images/report.png

Needs Chromium and Pillow. Make the report on a quiet machine: the picture shows its times.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 1040, 2300
FIRST_HALF = "header, nav, #summary, #use, #graph, #passes"
LIGHT, DARK = 1, 0  # Chromium's numbers


def screenshot(html: str, picture: Path, scheme: int) -> Image.Image:
    """The top of a page as Chromium draws it."""
    page = picture.with_suffix(".html")
    page.write_text(html, encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}"]
    command += [f"--blink-settings=preferredColorScheme={scheme}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    return Image.open(picture).convert("RGB")


def main(report: Path, output: Path) -> None:
    """Draw both halves beside each other."""
    html = report.read_text(encoding="utf-8")
    unfolded = html
    for part in ('class="layer"', 'class="kernel"'):
        # The second of each: the first layer's kernel is less like the others.
        places = [m.end() for m in re.finditer(part, unfolded)]
        place = places[min(1, len(places) - 1)]
        unfolded = f"{unfolded[:place]} open{unfolded[place:]}"
    second = html.replace("</head>", f"<style>{FIRST_HALF} {{ display: none; }}</style></head>")
    with tempfile.TemporaryDirectory() as folder:
        halves = [
            screenshot(unfolded, Path(folder) / "light.png", LIGHT),
            screenshot(second, Path(folder) / "dark.png", DARK),
        ]
    both = Image.new("RGB", (2 * WIDTH, HEIGHT))
    for number, half in enumerate(halves):
        both.paste(half, (number * WIDTH, 0))
    small = both.resize((1400, HEIGHT * 1400 // (2 * WIDTH)), Image.Resampling.LANCZOS)
    small.quantize(128, dither=Image.Dither.NONE).save(output, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
