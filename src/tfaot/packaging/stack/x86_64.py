"""Decoder of x86-64: lengths of all instructions that LLVM emits, effects on the stack pointer.

LLVM never allocates the stack pointer to a value: what writes it are the instructions that make and
free frames and pass arguments. Whatever else would write it is refused.

Source: Intel SDM volume 2, chapter 2 (instruction format) and appendix A (opcode maps); AMD64
architecture programmer's manual volume 6 (XOP).
"""

from __future__ import annotations

from tfaot.packaging.stack.effects import (
    STOP,
    Align,
    Below,
    Branch,
    Call,
    Code,
    Decoded,
    Effect,
    Move,
    Point,
    Restore,
    UnknownCodeError,
    signed,
)

_RED_ZONE = 128
_RSP, _RBP = 4, 5
_PREFIXES = frozenset((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3))

# Forms of an opcode: whether ModR/M follows, and the bytes of the immediate; Z is 4, or 2 behind
# the prefix 66. Opcodes that are not in a table are refused.
_MODRM, _Z = 0x10, 5
_Table = list[int | None]


def _ranges(table: _Table, form: int, text: str) -> None:
    for part in text.split():
        first, _, last = part.partition("-")
        for opcode in range(int(first, 16), int(last or first, 16) + 1):
            table[opcode] = form


def _one_byte() -> _Table:
    table: _Table = [None] * 256
    for row in range(0, 0x40, 8):
        _ranges(table, _MODRM, f"{row:x}-{row + 3:x}")
        table[row + 4], table[row + 5] = 1, _Z
    _ranges(table, 0, "50-5f 90-99 9b-9f a4-a7 aa-af c3 c9 cc f4-f5 f8-fd")
    _ranges(table, _MODRM, "63 84-8f d0-d3 d8-df f6-f7 fe-ff")
    _ranges(table, 1, "6a 70-7f a8 b0-b7 cd e0-e3 eb")
    _ranges(table, 2, "c2")
    _ranges(table, _Z, "68 a9 b8-bf")
    _ranges(table, 4, "e8-e9")  # not shorter behind 66
    _ranges(table, _MODRM + 1, "6b 80 82-83 c0-c1 c6")
    _ranges(table, _MODRM + _Z, "69 81 c7")
    return table


def _two_bytes() -> _Table:
    table: _Table = [None] * 256
    _ranges(table, 0, "05 06 08 09 0b 30-33 77 a0-a2 a8-a9 c8-cf")
    _ranges(table, _MODRM, "00-03 0d 10-23 28-2f 40-6f 74-76 78-7f 90-9f a3 a5 ab ad-b9 bb-c1 c3")
    _ranges(table, _MODRM, "c7 d0-ff")
    _ranges(table, _MODRM + 1, "70-73 a4 ac ba c2 c4-c6")
    _ranges(table, 4, "80-8f")
    return table


_ONE, _TWO = _one_byte(), _two_bytes()
_VECTOR_IMMEDIATE = frozenset((0x70, 0x71, 0x72, 0x73, 0xC2, 0xC4, 0xC5, 0xC6))
_INTO_RM = frozenset((0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x81, 0x83, 0x87, 0x89, 0xC7))
_INTO_REG = frozenset(
    (0x03, 0x0B, 0x13, 0x1B, 0x23, 0x2B, 0x33, 0x63, 0x69, 0x6B, 0x87, 0x8B, 0x8D)
)
_FLOW = frozenset(
    (*range(0x50, 0x60), 0x68, 0x6A, *range(0x70, 0x80), 0x8F, 0x9C, 0x9D, 0xC2, 0xC3)
)
_FLOW |= frozenset((0xC8, 0xC9, 0xCC, *range(0xE0, 0xE4), 0xE8, 0xE9, 0xEB, 0xF4, 0xF6, 0xF7, 0xFF))
_PUSHED, _POPPED = Move(-8), Move(8)
_UNUSED: tuple[Effect, ...] = ()


def decode(code: Code, at: int) -> Decoded:
    """The instruction at `at`; see `effects.Decoder`."""
    try:
        return _decode(code, at)
    except IndexError:
        raise UnknownCodeError(f"an instruction is cut off at {at:#x}") from None


def _decode(code: Code, start: int) -> Decoded:
    text, at = code.text, start
    short = wide = False
    rex = 0
    byte = text[at]
    while byte in _PREFIXES:
        short = short or byte == 0x66
        at += 1
        byte = text[at]
    if byte in (0x62, 0xC4, 0xC5) or (byte == 0x8F and text[at + 1] & 0x1F >= 8):
        return _vector(text, start, at)
    if byte & 0xF0 == 0x40:
        rex, wide = byte, bool(byte & 8)
        at += 1
        byte = text[at]
    if byte == 0x0F:
        return _escaped(code, start, at + 1, rex, short)
    form = _ONE[byte]
    at += 1
    if form is None:
        raise UnknownCodeError(f"opcode {byte:02x} at {start:#x}")
    operand = at
    below = _UNUSED
    if form & _MODRM:
        size, below = _operand(text, at, bool(rex & 1))
        at += size
    immediate = form & 0xF
    if immediate == _Z:
        immediate = 2 if short else 4
        if wide and 0xB8 <= byte <= 0xBF:
            immediate = 8
    elif byte in (0xF6, 0xF7) and text[operand] & 0x30 == 0:  # test
        immediate = 1 if byte == 0xF6 else 2 if short else 4
    value = at
    at += immediate
    if at > len(text):
        raise IndexError
    if byte in _FLOW:
        return at - start, below + _flow(code, start, byte, rex, operand, value, at)
    if byte in _INTO_RM or byte in _INTO_REG:
        found = _frame(text, start, byte, rex, operand, value, immediate)
        return at - start, found if byte == 0x8D else below + found
    return at - start, below


def _operand(text: bytes, at: int, extended: bool) -> tuple[int, tuple[Effect, ...]]:
    """Length of ModR/M, SIB and displacement, and whether they reach below the stack pointer."""
    modrm = text[at]
    mode, low = modrm >> 6, modrm & 7
    if mode == 3:
        return 1, _UNUSED
    if low != 4:
        return (5 if mode == 0 and low == 5 else (1, 2, 5)[mode]), _UNUSED
    base = text[at + 1] & 7
    if mode == 0:
        return (6 if base == 5 else 2), _UNUSED
    if base == _RSP and not extended and text[at + (2 if mode == 1 else 5)] & 0x80:
        return (3 if mode == 1 else 6), (Below(_RED_ZONE),)
    return (3 if mode == 1 else 6), _UNUSED


def _vector(text: bytes, start: int, at: int) -> Decoded:
    """VEX, EVEX and XOP; none of them writes the stack pointer."""
    prefix = text[at]
    if prefix == 0xC5:
        extended, table, at = False, 1, at + 2
    elif prefix == 0x62:
        # Bit 3 of the first byte, and bit 2 of the second cleared, are of extensions to come.
        if text[at + 1] & 0x08 or not text[at + 2] & 0x04:
            raise UnknownCodeError(f"an extended EVEX prefix at {start:#x}")
        extended, table, at = not text[at + 1] & 0x20, text[at + 1] & 7, at + 4
    else:
        extended, table, at = not text[at + 1] & 0x20, text[at + 1] & 0x1F, at + 3
    opcode = text[at]
    at += 1
    if prefix in (0xC4, 0xC5) and table == 1 and opcode == 0x77:
        return at - start, _UNUSED
    if table == 1:
        immediate = int(opcode in _VECTOR_IMMEDIATE)
    else:
        sizes = {2: 0, 3: 1, 5: 0, 6: 0} if prefix != 0x8F else {8: 1, 9: 0, 10: 4}
        if table not in sizes:
            raise UnknownCodeError(f"opcode map {table} at {start:#x}")
        immediate = sizes[table]
    size, below = _operand(text, at, extended)
    return at + size + immediate - start, below


def _escaped(code: Code, start: int, at: int, rex: int, short: bool) -> Decoded:
    """Opcodes behind 0F."""
    text = code.text
    byte = text[at]
    at += 1
    if byte in (0x38, 0x3A):
        size, below = _operand(text, at + 1, bool(rex & 1))
        return at + 1 + size + (byte == 0x3A) - start, below
    form = _TWO[byte]
    if form is None:
        raise UnknownCodeError(f"opcode 0f {byte:02x} at {start:#x}")
    if 0x80 <= byte <= 0x8F:
        end = at + 4
        return end - start, (Branch(_target(code, at, end, 4), conditional=True),)
    if byte == 0x0B:
        return at - start, (STOP,)
    if byte in (0xA0, 0xA1, 0xA8, 0xA9):
        return at - start, (_POPPED if byte & 1 else _PUSHED,)
    if not form & _MODRM:
        return at - start, _UNUSED
    size, below = _operand(text, at, bool(rex & 1))
    return at + size + (form & 0xF) - start, below


def _target(code: Code, place: int, end: int, size: int) -> int:
    if place in code.targets:
        return code.targets[place]
    return end + int.from_bytes(code.text[place:end], "little", signed=True)


def _flow(
    code: Code, start: int, byte: int, rex: int, operand: int, value: int, end: int
) -> tuple[Effect, ...]:
    """Pushes, pops, jumps, calls and returns."""
    if 0x50 <= byte <= 0x57 or byte in (0x68, 0x6A, 0x9C):
        return (_PUSHED,)
    if 0x58 <= byte <= 0x5F or byte in (0x8F, 0x9D):
        if byte == 0x58 + _RSP and not rex & 1:
            raise UnknownCodeError(f"the stack pointer is popped at {start:#x}")
        return (_POPPED,)
    if 0x70 <= byte <= 0x7F or 0xE0 <= byte <= 0xE3:
        return (Branch(_target(code, value, end, 1), conditional=True),)
    if byte in (0xE9, 0xEB):
        return (Branch(_target(code, value, end, end - value), conditional=False),)
    if byte == 0xE8:
        return (Call(_target(code, value, end, 4)),)
    if byte == 0xC9:  # leave
        return (Restore(_RBP, 8),)
    if byte in (0xC2, 0xC3, 0xCC, 0xF4):
        return (STOP,)
    kind = code.text[operand] >> 3 & 7
    if byte == 0xFF and kind in (2, 3, 4, 5):
        raise UnknownCodeError(f"a call or a jump through a pointer at {start:#x}")
    if byte == 0xFF and kind == 6:
        return (_PUSHED,)
    writes = kind in ((0, 1) if byte == 0xFF else (2, 3))
    if writes and code.text[operand] >> 6 == 3 and code.text[operand] & 7 == _RSP and not rex & 1:
        raise UnknownCodeError(f"the stack pointer is written at {start:#x}")
    return _UNUSED


def _frame(
    text: bytes, start: int, byte: int, rex: int, operand: int, value: int, immediate: int
) -> tuple[Effect, ...]:
    """Arithmetic and moves that may write the stack pointer, or copy it to the frame pointer."""
    modrm = text[operand]
    direct = modrm >> 6 == 3
    reg = (modrm >> 3 & 7) | (8 if rex & 4 else 0)
    low = (modrm & 7) | (8 if rex & 1 else 0)
    if byte == 0x8D:
        return _lea(text, start, operand, reg, bool(rex & 1))
    if direct and byte in (0x89, 0x8B):
        to, source = (low, reg) if byte == 0x89 else (reg, low)
        if source == _RSP:
            return (Point(_RBP, 0),) if to == _RBP else _UNUSED
        if to == _RSP:
            return (Restore(source, 0),)
        return _UNUSED
    if direct and low == _RSP and byte in (0x81, 0x83) and rex & 8:
        number = int.from_bytes(text[value : value + immediate], "little", signed=True)
        kind = modrm >> 3 & 7
        if kind in (0, 5):  # add, sub
            return (Move(number if kind == 0 else -number),)
        if kind == 4 and number < 0 and -number & (-number - 1) == 0:
            return (Align(-number - 8),)
        if kind == 7:  # cmp
            return _UNUSED
    into_rm = direct and low == _RSP and byte in _INTO_RM
    if into_rm or (reg == _RSP and byte in _INTO_REG):
        raise UnknownCodeError(f"the stack pointer is written at {start:#x}")
    return _UNUSED


def _lea(text: bytes, start: int, operand: int, reg: int, extended: bool) -> tuple[Effect, ...]:
    """Addresses made of the stack pointer or the frame pointer."""
    modrm = text[operand]
    mode, low = modrm >> 6, modrm & 7
    indexed = low == 4
    base = text[operand + 1] & 7 if indexed else low
    place = operand + (2 if indexed else 1)
    size = (0, 1, 4)[mode]
    offset = signed(int.from_bytes(text[place : place + size], "little"), 8 * size) if size else 0
    plain = not indexed or text[operand + 1] >> 3 & 7 == 4
    from_rsp = indexed and base == _RSP and not extended
    if reg == _RSP:
        if from_rsp and plain:
            return (Move(offset),)
        if not extended and not indexed and base == _RBP and mode:
            return (Restore(_RBP, offset),)
        raise UnknownCodeError(f"the stack pointer is written at {start:#x}")
    found = (Below(_RED_ZONE),) if from_rsp and offset < 0 else _UNUSED
    return (*found, Point(_RBP, offset)) if reg == _RBP and from_rsp and plain else found
