"""Reader of HLO text, as XLA prints it and as `ir.printer` does (with symbolic dimensions).

Input: text. Output: a normalised `Module`. A recursive-descent parser over `ir.lexer`:
module = header computation*; computation = [ENTRY] name [signature] { instruction* };
instruction = [ROOT] name = shape opcode(operands), attribute=value, ...
"""

from __future__ import annotations

import re

from tfaot.errors import InvalidModuleError, UnsupportedError
from tfaot.ir.dtypes import DType
from tfaot.ir.lexer import Lexer, parse_dim, unescape
from tfaot.ir.literals import parse_literal
from tfaot.ir.module import Module
from tfaot.ir.normalise import normalise
from tfaot.ir.raw import (
    TOKEN,
    Key,
    RawArray,
    RawComputation,
    RawInstruction,
    RawModule,
    RawShape,
    RawTuple,
)
from tfaot.ir.shapes import Dim
from tfaot.ir.text_attributes import READERS, finish

_SHAPE = re.compile(r"([a-z][a-z0-9]*)\[([^\]]*)\](?:\{([^}]*)\})?")
_PAIRS = re.compile(r'([\w.\-]+)\s*=\s*"((?:[^"\\]|\\.)*)"')
_TABLES = ("FileNames", "FunctionNames", "FileLocations", "StackFrames")


def parse_module(text: str) -> Module:
    """Read HLO text.

    Args:
        text: a whole module, starting with `HloModule`.

    Returns:
        The module with fusions and calls inlined and all arrays row-major.

    Raises:
        InvalidModuleError: not HLO text (with the line), or HLO that contradicts itself.
        UnsupportedError: HLO that can't be compiled.
    """
    try:
        return normalise(_Parser(text).module())
    except RecursionError:
        raise InvalidModuleError("shapes or computations are nested too deeply") from None


class _Parser:
    def __init__(self, text: str) -> None:
        self._lexer = Lexer(text)

    def module(self) -> RawModule:
        lexer = self._lexer
        lexer.expect("HloModule")
        name = lexer.word("the module's name")
        layouts: tuple[tuple[RawShape, ...], RawShape] | None = None
        metadata: dict[str, str] = {}
        while lexer.take(","):
            line = lexer.line
            attribute = lexer.word("an attribute")
            lexer.expect("=")
            value = lexer.value()
            if attribute == "entry_computation_layout":
                layouts = _Parser._at(value[1:-1], line)._program_shape()
            elif attribute == "frontend_attributes":
                metadata = {k: _text(v) for k, v in _PAIRS.findall(value)}
        self._skip_tables()
        computations: dict[Key, RawComputation] = {}
        entry: Key | None = None
        while not lexer.at_end:
            line = lexer.line
            is_entry = lexer.peek_word() == "ENTRY" and lexer.take("ENTRY")
            computation = self._computation()
            if computation.key in computations:
                raise InvalidModuleError(
                    f"line {line}: computation %{computation.name} is defined twice"
                )
            computations[computation.key] = computation
            if is_entry:
                entry = computation.key
        if entry is None:
            raise lexer.fail("no computation is marked ENTRY")
        return RawModule(name, computations, entry, layouts, metadata)

    @classmethod
    def _at(cls, text: str, line: int) -> _Parser:
        parser = cls("")
        parser._lexer = Lexer(text, line)
        return parser

    def _program_shape(self) -> tuple[tuple[RawShape, ...], RawShape]:
        parameters = self._tuple_of_shapes()
        self._lexer.expect("->")
        return parameters, self.shape()

    def _skip_tables(self) -> None:
        lexer = self._lexer
        while lexer.peek_word() in _TABLES:
            end = lexer.text.find("\n\n", lexer.position)
            if end < 0:
                raise lexer.fail("the table is not followed by an empty line")
            lexer.position = end
            lexer.skip()

    def _computation(self) -> RawComputation:
        lexer = self._lexer
        name = lexer.word("a computation").lstrip("%")
        if lexer.peek("("):
            lexer.past_group()
            lexer.skip()
            lexer.expect("->")
            self.shape()
        self._computation_attributes()
        lexer.expect("{")
        instructions: list[RawInstruction] = []
        root: Key | None = None
        while not lexer.take("}"):
            is_root = lexer.peek_word() == "ROOT" and lexer.take("ROOT")
            instruction = self._instruction()
            instructions.append(instruction)
            if is_root:
                root = instruction.key
        if not instructions:
            raise lexer.fail(f"computation %{name} is empty")
        self._computation_attributes()
        return RawComputation(
            name, name, instructions, instructions[-1].key if root is None else root
        )

    def _computation_attributes(self) -> None:
        while self._lexer.take(","):
            self._lexer.word("an attribute")
            self._lexer.expect("=")
            self._lexer.value()

    def _instruction(self) -> RawInstruction:
        lexer = self._lexer
        line = lexer.line
        name = lexer.word("an instruction").lstrip("%")
        lexer.expect("=")
        shape = self.shape()
        opcode = lexer.word("an opcode")
        raw = RawInstruction(name, name, opcode, shape, line=line)
        if not lexer.peek("("):
            raise lexer.fail(f"expected '(' after {opcode}, found {lexer.found()}")
        if opcode == "constant":
            self._constant(raw)
        elif opcode == "parameter":
            lexer.expect("(")
            number = lexer.word("the parameter's number")
            if not number.isdecimal():
                raise lexer.fail(f"'{number}' is no parameter number")
            raw.ints["parameter_number"] = (int(number),)
            lexer.expect(")")
        else:
            raw.operands = self._operands()
        while lexer.take(","):
            attribute = lexer.word("an attribute")
            lexer.expect("=")
            value = lexer.value()
            reader = READERS.get(attribute)
            if reader is not None:
                reader(raw, value)
        finish(raw)
        return raw

    def _operands(self) -> tuple[Key, ...]:
        lexer = self._lexer
        lexer.expect("(")
        operands: list[Key] = []
        while not lexer.take(")"):
            if operands:
                lexer.expect(",")
            if lexer.peek("(") or _SHAPE.match(lexer.text, lexer.position):
                self.shape()
            operands.append(lexer.word("an operand").lstrip("%"))
        return tuple(operands)

    def _constant(self, raw: RawInstruction) -> None:
        lexer = self._lexer
        value = lexer.past_group()[1:-1]
        lexer.skip()
        if not isinstance(raw.shape, RawArray):
            raise UnsupportedError(f"line {raw.line}: constant tuples are not supported")
        dims = tuple(d for d in raw.shape.dims if isinstance(d, int))
        if len(dims) != len(raw.shape.dims):
            raise raw.error("its dimensions must not depend on the batch size")
        try:
            raw.literal = parse_literal(value, raw.shape.dtype, dims)
        except InvalidModuleError as error:
            raise raw.error(str(error)) from None

    def _tuple_of_shapes(self) -> tuple[RawShape, ...]:
        lexer = self._lexer
        lexer.expect("(")
        shapes: list[RawShape] = []
        while not lexer.take(")"):
            if shapes:
                lexer.expect(",")
            shapes.append(self.shape())
        return tuple(shapes)

    def shape(self) -> RawShape:
        """An array's shape with its layout, or a tuple of shapes."""
        lexer = self._lexer
        if lexer.peek("("):
            return RawTuple(self._tuple_of_shapes())
        matched = _SHAPE.match(lexer.text, lexer.position)
        if matched is None:
            raise lexer.fail(f"expected a shape, found {lexer.found()}")
        name, sizes, layout = matched.groups()
        try:
            dtype = None if name == "token" else DType.from_name(name)
        except UnsupportedError as error:
            raise UnsupportedError(f"line {lexer.line}: {error}") from None
        dims, varying = self._dims(sizes)
        order = None if layout is None else self._layout(layout, len(dims))
        lexer.position = matched.end()
        lexer.skip()
        return TOKEN if dtype is None else RawArray(dtype, dims, order, varying)

    def _dims(self, text: str) -> tuple[tuple[Dim, ...], tuple[int, ...]]:
        dims: list[Dim] = []
        varying: list[int] = []
        for part in text.split(",") if text.strip() else ():
            size = part.strip()
            if size.startswith("<="):
                size = size[2:]
                varying.append(len(dims))
            dim = parse_dim(size)
            if dim is None:
                raise self._lexer.fail(f"'{size}' is no dimension")
            dims.append(dim)
        return tuple(dims), tuple(varying)

    def _layout(self, text: str, rank: int) -> tuple[int, ...] | None:
        order = text.split(":")[0].strip()
        if not order:
            return None
        try:
            dims = tuple(int(d) for d in order.split(","))
        except ValueError:
            raise self._lexer.fail(f"'{{{text}}}' is no layout") from None
        if sorted(dims) != list(range(rank)):
            raise self._lexer.fail(f"layout {{{text}}} does not fit an array of rank {rank}")
        return None if dims == tuple(reversed(range(rank))) else dims


def _text(quoted: str) -> str:
    return unescape(quoted).decode("utf-8", "replace")
