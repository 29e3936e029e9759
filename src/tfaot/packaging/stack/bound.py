"""The most stack that a call takes, from machine code.

Input: code, the decoder of its architecture, and where a function begins. Output: the most bytes
between the stack pointer as the function begins and the lowest byte that it or what it calls may
touch. All paths are followed, and every instruction on them is looked at: pushes of arguments,
frames that are aligned, calls in tail position. Code without recursion, without calls through
pointers and without frames whose size depends on data is all that there is in a model; of any other
the bound is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping

from tfaot.packaging.stack.effects import (
    Align,
    Below,
    Branch,
    Call,
    Code,
    Decoder,
    Move,
    Point,
    Restore,
    Stop,
    UnknownCodeError,
    Unwind,
)

_VISITS = 8
"""How often one place may be met with ever more stack before that is taken for a loop."""


class StackBound:
    """The bounds of the functions in one piece of code, each found once.

    Args:
        code: the code.
        decode: the decoder of its architecture.
        call_bytes: what a call itself takes (x86 pushes the return address).
    """

    def __init__(self, code: Code, decode: Decoder, call_bytes: int) -> None:
        self._code = code
        self._decode = decode
        self._call_bytes = call_bytes
        self._known: dict[int, int] = {}
        self._running: set[int] = set()

    def of(self, entry: int) -> int:
        """Bytes of stack that a call of the function at `entry` takes, the call included.

        Raises:
            UnknownCodeError: the code can't be followed.
        """
        if entry not in self._known:
            if entry in self._running:
                raise UnknownCodeError(f"the function at {entry:#x} calls itself")
            self._running.add(entry)
            self._known[entry] = self._call_bytes + self._walk(entry)
            self._running.remove(entry)
        return self._known[entry]

    def _walk(self, entry: int) -> int:
        code, decode, most = self._code, self._decode, 0
        seen: dict[int, int] = {}
        visits: dict[int, int] = {}
        pending: list[tuple[int, int, Mapping[int, int]]] = [(entry, 0, {})]
        while pending:
            at, depth, registers = pending.pop()
            going = True
            while going:
                before = seen.get(at)
                if before is not None:
                    if before >= depth:
                        break
                    visits[at] = visits.get(at, 0) + 1
                    if visits[at] > _VISITS:
                        raise UnknownCodeError(f"the stack grows in a loop at {at:#x}")
                if not 0 <= at < len(code.text):
                    raise UnknownCodeError(f"control leaves the code at {at:#x}")
                seen[at] = depth
                length, effects = decode(code, at)
                at += length
                for effect in effects:
                    match effect:
                        case Move(count):
                            depth -= count
                            most = max(most, depth)
                        case Align(count):
                            depth += count
                            most = max(most, depth)
                        case Point(register, offset):
                            registers = {**registers, register: depth - offset}
                        case Restore(register, offset):
                            if register not in registers:
                                raise UnknownCodeError(f"an unknown stack pointer at {at:#x}")
                            depth = registers[register] - offset
                            most = max(most, depth)
                        case Unwind():
                            depth = 0
                        case Below(count):
                            most = max(most, depth + count)
                        case Call(target):
                            most = max(most, depth + self.of(target))
                        case Branch(target, conditional):
                            pending.append((target, depth, registers))
                            going = going and conditional
                        case Stop():
                            going = False
                    if depth < 0:
                        raise UnknownCodeError(f"the caller's frame is freed at {at:#x}")
        return most
