"""Tokens of HLO text, read on demand from a position."""

from __future__ import annotations

import re
from bisect import bisect_right

from tfaot.errors import InvalidModuleError
from tfaot.ir.shapes import Dim, affine

_BLANK = re.compile(r"(?:\s+|/\*.*?\*/|//[^\n]*)*", re.DOTALL)
_WORD = re.compile(r"[^\s,(){}\[\]=\":<>]+")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BARE = re.compile(r'[^\s,{}()\[\]"]+')
_BRACKET = re.compile(r'[()\[\]{}"]')
_DIM = re.compile(r"(-?\d+)|(-?\d*)B([+-]\d+)?")
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}
_OPENING = {"(": ")", "[": "]", "{": "}"}


class Lexer:
    """A position in HLO text; whitespace and comments are skipped before every token."""

    def __init__(self, text: str, first_line: int = 1) -> None:
        self.text = text
        self.position = 0
        self._first_line = first_line
        self._newlines: list[int] | None = None
        self.skip()

    def skip(self) -> None:
        """Move past whitespace and comments."""
        matched = _BLANK.match(self.text, self.position)
        assert matched is not None
        self.position = matched.end()

    @property
    def line(self) -> int:
        """The line of the current position, counted from 1."""
        if self._newlines is None:
            self._newlines = [m.start() for m in re.finditer("\n", self.text)]
        return self._first_line + bisect_right(self._newlines, self.position - 1)

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.position >= len(self.text)

    def fail(self, message: str) -> InvalidModuleError:
        """An error at the current line."""
        return InvalidModuleError(f"line {self.line}: {message}")

    def found(self) -> str:
        """What stands at the current position, for messages."""
        rest = self.text[self.position : self.position + 24].split("\n")[0]
        return f"'{rest}'" if rest else "the end of the text" if self.at_end else "an empty line"

    def peek(self, literal: str) -> bool:
        """Whether `literal` comes next."""
        return self.text.startswith(literal, self.position)

    def take(self, literal: str) -> bool:
        """Move past `literal` if it comes next; whether it did."""
        if not self.peek(literal):
            return False
        self.position += len(literal)
        self.skip()
        return True

    def expect(self, literal: str) -> None:
        """Move past `literal`, which must come next."""
        if not self.take(literal):
            raise self.fail(f"expected '{literal}', found {self.found()}")

    def peek_word(self) -> str:
        """The word that comes next, '' if there is none."""
        matched = _WORD.match(self.text, self.position)
        return matched[0] if matched else ""

    def word(self, what: str) -> str:
        """The next word (a name, opcode or number); `what` it is goes into the message."""
        word = self.peek_word()
        if not word:
            raise self.fail(f"expected {what}, found {self.found()}")
        self.position += len(word)
        self.skip()
        return word

    def value(self) -> str:
        """An attribute's value as text: a string, a balanced group or a bare word."""
        start = self.position
        if self.peek('"'):
            self._past_string()
        else:
            while self.position < len(self.text):
                if self.text[self.position] in _OPENING:
                    self.past_group()
                    continue
                matched = _BARE.match(self.text, self.position)
                if matched is None:
                    break
                self.position = matched.end()
        if self.position == start:
            raise self.fail(f"expected a value, found {self.found()}")
        text = self.text[start : self.position]
        self.skip()
        return text

    def past_group(self) -> str:
        """The balanced group (of any brackets) that starts here, brackets included."""
        start = self.position
        stack: list[str] = []
        while True:
            matched = _BRACKET.search(self.text, self.position)
            if matched is None:
                self.position = start
                raise self.fail(f"'{self.text[start]}' is never closed")
            self.position = matched.start()
            bracket = matched[0]
            if bracket == '"':
                self._past_string()
                continue
            self.position = matched.end()
            if bracket in _OPENING:
                stack.append(_OPENING[bracket])
            elif not stack or stack.pop() != bracket:
                raise self.fail(f"'{bracket}' closes nothing")
            if not stack:
                return self.text[start : self.position]

    def _past_string(self) -> None:
        matched = _STRING.match(self.text, self.position)
        if matched is None:
            raise self.fail("a string is never closed")
        self.position = matched.end()


def parse_dim(text: str) -> Dim | None:
    """A dimension such as `4`, `B`, `2B+3` or `-B+100`; None if it is none."""
    matched = _DIM.fullmatch(text.strip())
    if matched is None:
        return None
    if matched[1] is not None:
        return int(matched[1])
    scale = {"": 1, "-": -1}.get(matched[2])
    return affine(int(matched[2]) if scale is None else scale, int(matched[3] or 0))


def unescape(text: str) -> bytes:
    """The bytes that a quoted string (without its quotes) stands for."""

    def one(matched: re.Match[bytes]) -> bytes:
        code = matched[1]
        if code[:1].isdigit():
            return bytes([int(code, 8) & 0xFF])
        if code[:1] == b"x" and len(code) > 1:
            return bytes([int(code[1:], 16)])
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(one, text.encode("utf-8", "surrogateescape"))


def escape(data: bytes) -> str:
    """`data` as a quoted string: printable ASCII as it is, the rest in octal."""
    out = []
    for octet in data:
        char = chr(octet)
        if char in '"\\':
            out.append("\\" + char)
        elif 32 <= octet < 127:
            out.append(char)
        else:
            out.append(f"\\{octet:03o}")
    return '"' + "".join(out) + '"'
