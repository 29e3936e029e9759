"""Derives the minimax polynomials of the vector math library and writes them as a module.

Usage: python tools/fit_polynomials.py [--check]

Input: the table `FITS` below: for each polynomial the function, interval, exponents and weight.
Output: src/tfaot/codegen/math/coefficients.py (with --check: compared with the file, exit code 1
where they differ).

Method: Remez exchange with mpmath (60 digits) on a dense grid. Coefficients are rounded to the
working precision one at a time, from the highest exponent down, and those that remain are fitted
again each time, so that the rounding of one is compensated by the others. (In this order the
remaining powers 1, x, ... stay a Chebyshev system even where the interval contains 0.)
"""

from __future__ import annotations

import argparse
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath as mp

mp.mp.dps = 60

Function = Callable[[mp.mpf], mp.mpf]
TWO_OVER_PI_BITS = 1408
TARGET = Path(__file__).parents[1] / "src/tfaot/codegen/math/coefficients.py"


@dataclass(frozen=True)
class Fit:
    """One polynomial sum(c[i] * x**i), the best to approximate `function` on [low, high].

    Attributes:
        name: the constant's name in the generated module.
        note: what it approximates, for its comment.
        function: the function to approximate.
        low: lower end of the interval.
        high: upper end of the interval.
        degree: the polynomial's degree.
        bits: 32 or 64, the format of the coefficients.
        weight: the error is multiplied by this (1 / f for a relative error).
    """

    name: str
    note: str
    function: Function
    low: mp.mpf
    high: mp.mpf
    degree: int
    bits: int
    weight: Function


def to_format(value: mp.mpf, bits: int) -> float:
    """`value` rounded to float32 or float64."""
    if bits == 64:
        return float(value)
    # float(value) rounds to 53 bits first; a tie of the second rounding is of no consequence here.
    return float(struct.unpack("<f", struct.pack("<f", float(value)))[0])


def minimax(fit: Fit, fixed: list[float]) -> tuple[list[mp.mpf], mp.mpf]:
    """The free coefficients of the best polynomial, and its largest weighted error.

    `fixed` are the highest coefficients, lowest exponent first.
    """
    free = fit.degree + 1 - len(fixed)
    points = 24 * (free + 1)
    middle, half = (fit.high + fit.low) / 2, (fit.high - fit.low) / 2
    grid = [middle - half * mp.cos(mp.pi * (2 * i + 1) / (2 * points)) for i in range(points)]
    weights = [abs(fit.weight(x)) for x in grid]
    rest = [
        fit.function(x) - sum((mp.mpf(c) * x ** (j + free) for j, c in enumerate(fixed)), mp.mpf(0))
        for x in grid
    ]
    if free == 0:
        return [], max(abs(r * w) for r, w in zip(rest, weights, strict=True))
    chosen = [round((2 * i + 1) * points / (2 * (free + 1)) - 0.5) for i in range(free + 1)]
    for _ in range(60):
        rows = mp.matrix(free + 1, free + 1)
        right = mp.matrix(free + 1, 1)
        for row, index in enumerate(chosen):
            for j in range(free):
                rows[row, j] = grid[index] ** j
            rows[row, free] = (-1) ** row / weights[index]
            right[row] = rest[index]
        solution = mp.lu_solve(rows, right)
        coefficients = [solution[j] for j in range(free)]
        level = abs(solution[free])
        errors = []
        for x, w, r in zip(grid, weights, rest, strict=True):
            value = mp.mpf(0)
            for c in reversed(coefficients):
                value = value * x + c
            errors.append((r - value) * w)
        chosen = _alternating_extrema(errors, free + 1)
        worst = max(abs(e) for e in errors)
        if worst <= level * mp.mpf("1.0005"):
            break
    return coefficients, worst


def _alternating_extrema(errors: list[mp.mpf], count: int) -> list[int]:
    """Indices of `count` extrema of alternating sign, the largest run of them."""
    runs: list[int] = []
    for i, error in enumerate(errors):
        if runs and (errors[runs[-1]] > 0) == (error > 0):
            if abs(error) > abs(errors[runs[-1]]):
                runs[-1] = i
        else:
            runs.append(i)
    while len(runs) > count:
        if len(runs) == count + 1:
            drop = 0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1
            del runs[drop]
        else:
            # Dropping an inner extremum drops a neighbour of the other sign with it.
            i = min(
                range(len(runs) - 1),
                key=lambda j: max(abs(errors[runs[j]]), abs(errors[runs[j + 1]])),
            )
            del runs[i : i + 2]
    assert len(runs) == count, "the error alternates too rarely: raise the working precision"
    return runs


def solve(fit: Fit) -> tuple[list[float], mp.mpf]:
    """All coefficients, rounded, and the largest weighted error with them."""
    fixed: list[float] = []
    while len(fixed) <= fit.degree:
        coefficients, _ = minimax(fit, fixed)
        fixed.insert(0, to_format(coefficients[-1], fit.bits))
    return fixed, minimax(fit, fixed)[1]


def _fix0(f: Function) -> Function:
    """`f` continued to 0, where it is 0 / 0, by its value nearby."""
    return lambda x: f(x if abs(x) > mp.mpf(10) ** -18 else mp.mpf(10) ** -18)


def _series(term: Callable[[int], mp.mpf]) -> Function:
    """The power series with coefficients term(0), term(1), ..., for arguments below 0.7."""
    terms = [term(j) for j in range(400)]

    def value(z: mp.mpf) -> mp.mpf:
        total, power = mp.mpf(0), mp.mpf(1)
        for t in terms:
            total += t * power
            power *= z
            if power < mp.mpf(10) ** -60:
                break
        return total

    return value


LN2 = mp.log(2)

# About 2.5, and such that erf is nearly a float32 number there: the constant term of a polynomial
# around it is then hardly rounded.
ERF_CENTER_F32 = to_format(mp.erfinv(to_format(mp.erf(mp.mpf("2.5")), 32)), 32)


def fits() -> list[Fit]:
    """The polynomials of the library."""
    half_ln2 = LN2 / 2 * mp.mpf("1.0001")
    expm1_tail = _fix0(lambda r: (mp.expm1(r) - r) / r**2)
    # The error of the tail is multiplied by r^2 in expm1(r) = r + r^2 tail(r).
    expm1_weight = _fix0(lambda r: r**2 / mp.expm1(r))
    root2 = mp.sqrt(2)
    log_tail = _fix0(lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3)
    log_weight = _fix0(lambda f: f**3 / mp.log1p(f))
    # atanh(s) is a function of z = s^2; s = f / (2 + f).
    atanh_limit = ((root2 - 1) / (root2 + 1)) ** 2
    atanh_tail = _fix0(lambda z: (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z)
    quarter = (mp.pi / 4 * mp.mpf("1.0001")) ** 2
    sin_tail = _series(lambda j: mp.mpf(-1) ** (j + 1) / mp.factorial(2 * j + 3))
    cos_tail = _series(lambda j: mp.mpf(-1) ** (j + 1) / mp.factorial(2 * j + 2))
    cos_tail2 = _series(lambda j: mp.mpf(-1) ** j / mp.factorial(2 * j + 4))
    atan_tail = _series(lambda j: mp.mpf(-1) ** (j + 1) / (2 * j + 3))
    atanh_tail2 = _series(lambda j: mp.mpf(1) / (2 * j + 5))
    erf_small = _fix0(lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1)
    erf_small_weight = _fix0(lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)))
    split32, end32, center32 = mp.mpf("1.125"), mp.mpf(4), mp.mpf(ERF_CENTER_F32)
    return [
        Fit(
            "EXPM1_TAIL_F32",
            "(expm1(r) - r) / r^2 on |r| <= ln 2 / 2",
            expm1_tail,
            -half_ln2,
            half_ln2,
            4,
            32,
            expm1_weight,
        ),
        Fit(
            "EXPM1_TAIL_F64",
            "(expm1(r) - r) / r^2 on |r| <= ln 2 / 2",
            expm1_tail,
            -half_ln2,
            half_ln2,
            10,
            64,
            expm1_weight,
        ),
        Fit(
            "LOG_TAIL_F32",
            "(log1p(f) - f + f^2/2) / f^3 on sqrt(1/2) <= 1 + f <= sqrt(2)",
            log_tail,
            1 / root2 - 1,
            root2 - 1,
            7,
            32,
            log_weight,
        ),
        Fit(
            "ATANH_TAIL_F64",
            "(2 atanh(s) / s - 2) / s^2 in z = s^2, |s| <= (sqrt(2) - 1)^2",
            atanh_tail,
            mp.mpf(0),
            atanh_limit,
            6,
            64,
            lambda z: z,
        ),
        Fit(
            "ERF_SMALL_F32",
            "erf(x) / x - 1 in z = x^2, |x| <= 1.125",
            erf_small,
            mp.mpf(0),
            split32**2,
            6,
            32,
            erf_small_weight,
        ),
        Fit(
            "ERF_LARGE_F32",
            "erf(ERF_CENTER_F32 + t) on 1.125 <= ERF_CENTER_F32 + t <= 4",
            lambda t: mp.erf(center32 + t),
            split32 - center32,
            end32 - center32,
            14,
            32,
            # Stricter toward the end, beyond which the result has to be 1 exactly.
            lambda t: (1 + ((center32 + t) / end32) ** 24) / mp.erf(center32 + t),
        ),
        Fit(
            "ERF_SMALL_F64",
            "erf(x) / x - 1 in z = x^2, |x| <= 1.25",
            erf_small,
            mp.mpf(0),
            mp.mpf("1.25") ** 2,
            13,
            64,
            erf_small_weight,
        ),
        Fit(
            "ERFCX_F64",
            "exp(x^2) erfc(x) in t = x - 2, 1.25 <= x <= 6, error of erf",
            lambda t: mp.exp((t + 2) ** 2) * mp.erfc(t + 2),
            mp.mpf("-0.75"),
            mp.mpf(4),
            18,
            64,
            lambda t: mp.exp(-((t + 2) ** 2)),
        ),
        Fit(
            "SIN_TAIL_LOW",
            "(sin(r) / r - 1) / r^2 in z = r^2, |r| <= pi / 4, for float32 results",
            sin_tail,
            mp.mpf(0),
            quarter,
            3,
            64,
            lambda z: z,
        ),
        Fit(
            "COS_TAIL_LOW",
            "(cos(r) - 1) / r^2 in z = r^2, |r| <= pi / 4, for float32 results",
            cos_tail,
            mp.mpf(0),
            quarter,
            3,
            64,
            lambda z: z,
        ),
        Fit(
            "SIN_TAIL_F64",
            "(sin(r) / r - 1) / r^2 in z = r^2, |r| <= pi / 4",
            sin_tail,
            mp.mpf(0),
            quarter,
            5,
            64,
            lambda z: z,
        ),
        Fit(
            "COS_TAIL_F64",
            "(cos(r) - 1 + r^2 / 2) / r^4 in z = r^2, |r| <= pi / 4",
            cos_tail2,
            mp.mpf(0),
            quarter,
            5,
            64,
            lambda z: z**2,
        ),
        Fit(
            "ATAN_TAIL_LOW",
            "(atan(q) / q - 1) / q^2 in z = q^2, |q| <= 1/2, for float32 results",
            atan_tail,
            mp.mpf(0),
            mp.mpf("0.25"),
            6,
            64,
            lambda z: z,
        ),
        Fit(
            "ATAN_TAIL_F64",
            "(atan(q) / q - 1) / q^2 in z = q^2, |q| <= 1/2",
            atan_tail,
            mp.mpf(0),
            mp.mpf("0.25"),
            13,
            64,
            lambda z: z,
        ),
        Fit(
            "LOG2_TAIL_LOW",
            "(2 atanh(s) / (s ln 2) - 2 / ln 2) / s^2 in z = s^2, for float32 powers",
            lambda z: atanh_tail(z) / LN2,
            mp.mpf(0),
            atanh_limit,
            4,
            64,
            lambda z: z,
        ),
        Fit(
            "EXP2_LOW",
            "2^r on |r| <= 1/2, for float32 powers",
            lambda r: mp.mpf(2) ** r,
            mp.mpf("-0.5001"),
            mp.mpf("0.5001"),
            7,
            64,
            lambda r: mp.mpf(2) ** -r,
        ),
        Fit(
            "ATANH_TAIL2_F64",
            "(atanh(s) / s - 1 - s^2 / 3) / s^4 in z = s^2, |s| <= (sqrt(2) - 1)^2",
            atanh_tail2,
            mp.mpf(0),
            atanh_limit,
            7,
            64,
            lambda z: z**2,
        ),
        Fit(
            "CBRT_START",
            "cbrt(m) on 1 <= m <= 8, a first approximation",
            mp.cbrt,
            mp.mpf(1),
            mp.mpf(8),
            5,
            64,
            lambda m: 1 / mp.cbrt(m),
        ),
    ]


def render() -> str:
    """The generated module."""
    lines = [
        '"""Minimax polynomial coefficients, lowest exponent first.',
        "",
        "Generated by tools/fit_polynomials.py, which states each function, interval and weight.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Final",
    ]
    for fit in fits():
        coefficients, error = solve(fit)
        print(f"{fit.name}: weighted error 2^{float(mp.log(error, 2)):.2f}", file=sys.stderr)
        lines += ["", f"# {fit.note}", f"# weighted error 2^{float(mp.log(error, 2)):.1f}"]
        lines.append(f"{fit.name}: Final = (")
        lines += [f'    float.fromhex("{c.hex()}"),' for c in coefficients]
        lines.append(")")
    lines += ["", "# the centre of ERF_LARGE_F32"]
    lines.append(f'ERF_CENTER_F32: Final = float.fromhex("{ERF_CENTER_F32.hex()}")')
    lines += ["", f"# 2 / pi, the first {TWO_OVER_PI_BITS} bits after the binary point"]
    with mp.workdps(500):
        digits = int(mp.floor(mp.ldexp(2 / mp.pi, TWO_OVER_PI_BITS)))
    lines.append("TWO_OVER_PI_BITS: Final = " + str(TWO_OVER_PI_BITS))
    lines.append("TWO_OVER_PI: Final = int(")
    text = f"{digits:x}"
    lines += [f'    "{text[i : i + 80]}"' for i in range(0, len(text), 80)]
    lines[-1] += ","
    lines += ["    16,", ")"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes or checks the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = render()
    if parser.parse_args().check:
        return int(TARGET.read_text() != text)
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
