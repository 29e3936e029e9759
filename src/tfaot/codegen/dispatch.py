"""The choice of an instruction set, made once: cpuid and xgetbv, and a limit set by the caller.

Input: the levels in the object. Output: a variable that holds the level in use, the function that
finds it, and `NAME_set_max_isa`. The variable is the only memory that an artifact ever writes,
but for the address of weights outside of it (`codegen.external`):
all threads that come at first find the same level, and a relaxed atomic store of it is enough.

Source: x86-64 psABI, section 3.1.1 (the features of each level); Intel SDM volume 2 (CPUID) and
volume 1, section 13.3 (XGETBV and which registers the system saves).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.body import Body
from tfaot.codegen.target import Target
from tfaot.codegen.types import I32

EXPORTED = "protected"
"""Linkage of what is global: a library exports it, yet its own calls never leave for a function of
the same name in another library. (Formats other than ELF have no such thing, nor the problem.)"""

UNKNOWN, ABSENT = 0, -1
"""Values of the variable beside levels: not looked yet; this CPU has none of the levels."""


@dataclass(frozen=True)
class Level:
    """The code for one instruction set.

    Attributes:
        target: the CPU.
        bodies: the variants.
        evaluate: the function that runs them; its parameters are those of NAME_run, and the
            address of the weights where they are outside of the object.
        compose: the function that runs static ones part by part, None where there is none.
    """

    target: Target
    bodies: Sequence[Body]
    evaluate: ir.Function
    compose: ir.Function | None = None


@dataclass(frozen=True)
class _Leaf:
    """The bits of one register that a CPU must have: cpuid's leaf, its register, bit numbers."""

    leaf: int
    register: int
    bits: tuple[int, ...]

    @property
    def mask(self) -> int:
        return sum(1 << bit for bit in self.bits)


_EBX, _ECX = 1, 2
# In the order of the psABI's table; each level has what the one before it has.
_FEATURES: dict[int, tuple[_Leaf, ...]] = {
    2: (
        _Leaf(1, _ECX, (0, 9, 13, 19, 20, 23)),  # SSE3 SSSE3 CMPXCHG16B SSE4_1 SSE4_2 POPCNT
        _Leaf(0x80000001, _ECX, (0,)),  # LAHF-SAHF
    ),
    3: (
        _Leaf(1, _ECX, (12, 22, 27, 28, 29)),  # FMA MOVBE OSXSAVE AVX F16C
        _Leaf(7, _EBX, (3, 5, 8)),  # BMI1 AVX2 BMI2
        _Leaf(0x80000001, _ECX, (5,)),  # LZCNT
    ),
    4: (_Leaf(7, _EBX, (16, 17, 28, 30, 31)),),  # AVX512F AVX512DQ AVX512CD AVX512BW AVX512VL
}
_SAVED = {3: 0x06, 4: 0xE6}
"""Bits of XCR0 that tell whether the system saves a level's registers: XMM, YMM, opmask, ZMM."""

_CPUID = ir.FunctionType(ir.LiteralStructType([I32] * 4), [I32, I32])
_XGETBV = ir.FunctionType(ir.LiteralStructType([I32] * 2), [I32])


class Dispatch:
    """Emits the choice into a module.

    Args:
        module: where it goes.
        name: the model's name.
        levels: the levels in the object, ascending.
    """

    def __init__(self, module: ir.Module, name: str, levels: Sequence[Level]) -> None:
        self._module = module
        self._name = name
        self._levels = [level.target.level for level in levels]
        self._variable = ir.GlobalVariable(module, I32, f"{name}.level")
        self._variable.linkage = "internal"
        self._variable.initializer = ir.Constant(I32, UNKNOWN)
        self._find = self._find_function()
        self._setter()

    def chosen(self, builder: ir.IRBuilder) -> ir.Value:
        """The level in use, found in the first call; `ABSENT` where the CPU has none."""
        known = builder.load_atomic(self._variable, "monotonic", 4, typ=I32)
        before = builder.block
        unknown = builder.icmp_signed("==", known, ir.Constant(I32, UNKNOWN))
        with builder.if_then(unknown, likely=False):
            found = builder.call(self._find, [ir.Constant(I32, 0)])
            # A limit that another thread sets meanwhile stays.
            expected, order = ir.Constant(I32, UNKNOWN), "monotonic"
            swapped = builder.cmpxchg(self._variable, expected, found, order, order)
            old = builder.extract_value(swapped, 0)
            lost = builder.icmp_signed("!=", old, ir.Constant(I32, UNKNOWN))
            first = builder.select(lost, old, found)
            inside = builder.block
        chosen = builder.phi(I32)
        chosen.add_incoming(known, before)
        chosen.add_incoming(first, inside)
        return chosen

    def _setter(self) -> None:
        """NAME_set_max_isa(most): limits the level; returns the one in use, 0 where there is none.

        A `most` of 0 lifts the limit, a negative one only asks. One below all levels in the
        object means the lowest of them.
        """
        type_ = ir.FunctionType(I32, [I32])
        function = ir.Function(self._module, type_, f"{self._name}_set_max_isa")
        function.linkage = EXPORTED
        (most,) = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        zero = ir.Constant(I32, 0)
        with builder.if_then(builder.icmp_signed(">=", most, zero)):
            found = builder.call(self._find, [most])
            builder.store_atomic(found, self._variable, "monotonic", 4)
        level = self.chosen(builder)
        builder.ret(builder.select(builder.icmp_signed("<", level, zero), zero, level))

    def _find_function(self) -> ir.Function:
        """The highest level that the CPU has, and that is not above `most` where that isn't 0."""
        function = ir.Function(
            self._module, ir.FunctionType(I32, [I32]), f"{self._name}.find_level"
        )
        function.linkage = "internal"
        function.attributes.add("noinline")
        (most,) = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        registers = _Registers(builder)
        result: ir.Value = ir.Constant(I32, ABSENT)
        has: ir.Value = ir.Constant(ir.IntType(1), 1)
        lowest = self._levels[0]
        allowed = builder.select(
            builder.icmp_signed("==", most, ir.Constant(I32, 0)), ir.Constant(I32, 99), most
        )
        allowed = builder.select(
            builder.icmp_signed("<", allowed, ir.Constant(I32, lowest)),
            ir.Constant(I32, lowest),
            allowed,
        )
        for level in range(2, self._levels[-1] + 1):
            has = builder.and_(has, registers.has(level))
            if level in self._levels:
                fits = builder.icmp_signed("<=", ir.Constant(I32, level), allowed)
                result = builder.select(builder.and_(has, fits), ir.Constant(I32, level), result)
        builder.ret(result)
        return function


class _Registers:
    """What cpuid and xgetbv tell, each leaf asked once."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self._builder = builder
        self._leaves: dict[int, ir.Value] = {}
        self._zero = ir.Constant(I32, 0)
        base = self._cpuid(0)
        extended = self._cpuid(0x80000000)
        self._most = {
            False: builder.extract_value(base, 0),
            True: builder.extract_value(extended, 0),
        }
        first = self._leaf(1, _ECX)
        # Without OSXSAVE the instruction that reads XCR0 isn't there.
        saves = builder.icmp_signed(
            "!=", builder.and_(first, ir.Constant(I32, 1 << 27)), self._zero
        )
        before = builder.block
        with builder.if_then(saves):
            read = builder.asm(
                _XGETBV, "xgetbv", "={ax},={dx},{cx}", [self._zero], side_effect=True
            )
            low = builder.extract_value(read, 0)
            inside = builder.block
        self._saved = builder.phi(I32)
        self._saved.add_incoming(self._zero, before)
        self._saved.add_incoming(low, inside)

    def has(self, level: int) -> ir.Value:
        """Whether the CPU has what a level adds to the one before it."""
        builder = self._builder
        result: ir.Value = ir.Constant(ir.IntType(1), 1)
        for leaf in _FEATURES[level]:
            mask = ir.Constant(I32, leaf.mask)
            bits = builder.and_(self._leaf(leaf.leaf, leaf.register), mask)
            result = builder.and_(result, builder.icmp_unsigned("==", bits, mask))
        if level in _SAVED:
            mask = ir.Constant(I32, _SAVED[level])
            saved = builder.and_(self._saved, mask)
            result = builder.and_(result, builder.icmp_unsigned("==", saved, mask))
        return result

    def _leaf(self, leaf: int, register: int) -> ir.Value:
        """A register of a leaf, 0 where the CPU has no such leaf."""
        builder = self._builder
        if leaf not in self._leaves:
            self._leaves[leaf] = self._cpuid(leaf)
        most = self._most[leaf >= 0x80000000]
        there = builder.icmp_unsigned(">=", most, ir.Constant(I32, leaf))
        return builder.select(
            there, builder.extract_value(self._leaves[leaf], register), self._zero
        )

    def _cpuid(self, leaf: int) -> ir.Value:
        return self._builder.asm(
            _CPUID,
            "cpuid",
            "={ax},={bx},={cx},={dx},0,2",
            [ir.Constant(I32, leaf), self._zero],
            side_effect=True,
        )
