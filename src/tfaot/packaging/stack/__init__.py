"""The most bytes of stack that calls of an object's functions take, from its machine code."""

from __future__ import annotations

from collections.abc import Iterable

from tfaot.packaging.object_code import ObjectCode
from tfaot.packaging.stack import aarch64, ppc64le, riscv64, x86_64
from tfaot.packaging.stack.bound import StackBound
from tfaot.packaging.stack.effects import Code, Decoder, UnknownCodeError

_DECODERS: dict[str, Decoder] = {
    "x86_64": x86_64.decode,
    "aarch64": aarch64.decode,
    "riscv64": riscv64.decode,
    "ppc64le": ppc64le.decode,
}
_RETURN_ADDRESS = {"x86_64": 8}
_BEYOND_FRAMES = {"ppc64le": ppc64le.PROTECTED}


def stack_bytes(code: ObjectCode, functions: Iterable[str]) -> int:
    """The most bytes of stack that a call of any of `functions` takes, its return address included.

    Raises:
        UnknownCodeError: the code can't be followed, or a function is not there.
    """
    decode = _DECODERS.get(code.machine)
    if decode is None:
        raise UnknownCodeError(f"no decoder for {code.machine}")
    bound = StackBound(Code(code.text, code.targets), decode, _RETURN_ADDRESS.get(code.machine, 0))
    most = 0
    for name in functions:
        if name not in code.functions:
            raise UnknownCodeError(f"no function {name}")
        most = max(most, bound.of(code.functions[name]))
    return most + _BEYOND_FRAMES.get(code.machine, 0)


__all__ = ["UnknownCodeError", "stack_bytes"]
