"""Reads a report as a browser or a screen reader would, strictly."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

VOID = {"meta", "link", "br", "input", "img", "hr"}


class Page(HTMLParser):
    """The elements of a page; fails where tags don't nest.

    Attributes:
        elements: tag and attributes of each element, in order.
        texts: the text by tag of the innermost element.
        words: all text outside of styles and scripts.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open
        self.words = " ".join(
            " ".join(t) for tag, t in self.texts.items() if tag not in ("style", "script")
        )

    def handle_starttag(self, tag, attrs):
        names = [n for n, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in <{tag}>"
        self.elements.append((tag, {n: v or "" for n, v in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1] == tag, f"</{tag}> closes <{self._open[-1]}>"
        self._open.pop()

    def handle_data(self, data):
        if data.strip():
            self.texts.setdefault(self._open[-1] if self._open else "", []).append(data.strip())

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def charts(self) -> list[ElementTree.Element]:
        """The charts, which must be well-formed XML."""
        return [ElementTree.fromstring(s) for s in re.findall(r"<svg.*?</svg>", self.html, re.S)]

    def section(self, name: str) -> Page:
        """One section alone."""
        found = re.search(rf'<section id="{name}">.*?</section>', self.html, re.S)
        assert found, name
        return Page(found[0])


def read_page(path: Path) -> Page:
    """The page in a file."""
    return Page(path.read_text(encoding="utf-8"))
