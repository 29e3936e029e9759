"""Weights outside of the object: their address, and NAME_attach_weights, which sets it.

Input: what identifies the weights' file (`tfaot.weights_file`). Output: a variable with the address
of the blob, null at first, and the function that checks a file in memory and publishes its blob.
No system calls: who has the model maps the file, or reads it, or has it in its own data.

NAME_run reads the address once. So a call works with one file to its end, whatever is attached
meanwhile; memory that was attached must stay until the calls that began with it have ended.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.dispatch import EXPORTED
from tfaot.codegen.index import as_value
from tfaot.codegen.loops import Loop
from tfaot.codegen.microkernel import POINTER
from tfaot.codegen.types import I8, I32, I64
from tfaot.weights_file import (
    BLOB_OFFSET,
    BLOCK,
    FOLD_ROTATION,
    IDENTITY_BYTES,
    LANES,
    MULTIPLIER,
    ROTATION,
    ROUNDS,
    SEEDS,
    STEP,
    SUMMED_FROM,
    file_bytes,
)

OK, NULL_POINTER = 0, 2
NO_WEIGHTS, WRONG_WEIGHTS, TRUNCATED_WEIGHTS, CORRUPT_WEIGHTS, MISALIGNED_WEIGHTS = range(11, 16)
"""Status codes."""

ALIGNMENT = 64

_WORD = 8


@dataclass
class ExternalWeights:
    """Emits the address of the weights and what sets it into a module.

    Attributes:
        module: where they go.
        name: the model's name.
    """

    module: ir.Module
    name: str

    def __post_init__(self) -> None:
        """Make the variable."""
        self._base = ir.GlobalVariable(self.module, I64, f"{self.name}.weights")
        self._base.linkage = "internal"
        self._base.initializer = ir.Constant(I64, 0)

    @property
    def identity_symbol(self) -> str:
        """The array that every file's first words are compared with, without a value as yet."""
        return f"{self.name}.weights_identity"

    def base(self, builder: ir.IRBuilder) -> ir.Value:
        """The address of the blob, null where there is none."""
        return builder.inttoptr(builder.load_atomic(self._base, "acquire", 8, typ=I64), POINTER)

    def emit(self, blob_bytes: int) -> None:
        """Emit NAME_attach_weights(data, bytes); it returns a status."""
        words = IDENTITY_BYTES // _WORD
        identity = ir.GlobalVariable(self.module, ir.ArrayType(I64, words), self.identity_symbol)
        identity.linkage = "external"
        identity.global_constant = True
        summed = self._checksum()
        type_ = ir.FunctionType(I32, [POINTER, I64])
        function = ir.Function(self.module, type_, f"{self.name}_attach_weights")
        function.linkage = EXPORTED
        data, size = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))

        def leave_if(condition: ir.Value, status: int) -> None:
            with builder.if_then(condition, likely=False):
                builder.ret(ir.Constant(I32, status))

        leave_if(builder.icmp_unsigned("==", data, ir.Constant(POINTER, None)), NULL_POINTER)
        low = builder.and_(builder.ptrtoint(data, I64), as_value(ALIGNMENT - 1))
        leave_if(builder.icmp_unsigned("!=", low, as_value(0)), MISALIGNED_WEIGHTS)
        leave_if(builder.icmp_signed("<", size, as_value(SUMMED_FROM)), TRUNCATED_WEIGHTS)
        differ: ir.Value = as_value(0)
        for number in range(words):
            found = self._word(builder, data, number)
            wanted = self._word(builder, identity, number)
            differ = builder.or_(differ, builder.xor(found, wanted))
        leave_if(builder.icmp_unsigned("!=", differ, as_value(0)), WRONG_WEIGHTS)
        length = file_bytes(blob_bytes)
        leave_if(builder.icmp_signed("<", size, as_value(length)), TRUNCATED_WEIGHTS)
        contents = builder.gep(data, [as_value(SUMMED_FROM)], source_etype=I8)
        total = builder.call(summed, [contents, as_value((length - SUMMED_FROM) // BLOCK)])
        told = self._word(builder, data, words)
        leave_if(builder.icmp_unsigned("!=", total, told), CORRUPT_WEIGHTS)
        blob = builder.gep(data, [as_value(BLOB_OFFSET)], source_etype=I8)
        builder.store_atomic(builder.ptrtoint(blob, I64), self._base, "release", 8)
        builder.ret(ir.Constant(I32, OK))

    def _word(self, builder: ir.IRBuilder, data: ir.Value, number: int) -> ir.Value:
        return builder.load(
            builder.gep(data, [as_value(number)], source_etype=I64), typ=I64, align=_WORD
        )

    def _checksum(self) -> ir.Function:
        """The function (data, number of blocks) -> checksum, as `weights_file.checksum`."""
        type_ = ir.FunctionType(I64, [POINTER, I64])
        function = ir.Function(self.module, type_, f"{self.name}.checksum")
        function.linkage = "internal"
        data, blocks = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        multiplier = ir.Constant(I64, MULTIPLIER)

        def mixed(state: ir.Value, word: ir.Value, by: int) -> ir.Value:
            state = builder.xor(state, word)
            high = builder.shl(state, as_value(by))
            low = builder.lshr(state, as_value(64 - by))
            return builder.mul(builder.or_(high, low), multiplier)

        with Loop(builder, 0, blocks, 1, [as_value(0)], "block") as outer:
            number = builder.add(outer.index, as_value(1))
            start = builder.mul(number, ir.Constant(I64, STEP))
            lanes = [builder.add(start, ir.Constant(I64, seed)) for seed in SEEDS]
            block = builder.gep(data, [builder.mul(outer.index, as_value(BLOCK))], source_etype=I8)
            with Loop(builder, 0, ROUNDS, 1, lanes, "round") as inner:
                place = builder.mul(inner.index, as_value(LANES))
                following = []
                for lane, state in enumerate(inner.carried):
                    at = builder.gep(block, [builder.add(place, as_value(lane))], source_etype=I64)
                    word = builder.load(at, typ=I64, align=_WORD)
                    following.append(mixed(state, word, ROTATION))
                inner.update(following)
            folded: ir.Value = as_value(0)
            for state in inner.results:
                folded = mixed(folded, state, FOLD_ROTATION)
            folded = builder.xor(folded, builder.lshr(folded, as_value(32)))
            outer.update([builder.add(outer.carried[0], folded)])
        builder.ret(outer.results[0])
        return function


def with_identity(text: str, symbol: str, identity: bytes) -> str:
    """The IR text with the value of the array that files are compared with."""
    words = struct.unpack(f"<{IDENTITY_BYTES // _WORD}Q", identity)
    type_ = f"[{len(words)} x i64]"
    old = f'@"{symbol}" = external constant {type_}'
    assert old in text
    values = ", ".join(f"i64 {word}" for word in words)
    return text.replace(old, f'@"{symbol}" = internal constant {type_} [{values}], align 8')
