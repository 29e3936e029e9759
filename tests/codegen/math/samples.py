"""Arguments on which the elementary functions are measured."""

from __future__ import annotations

import numpy as np

Arguments = tuple[np.ndarray, ...]

DENSE64 = 20_000
"""Random float64 per range that the slow tests and docs/accuracy.md compare with mpmath."""

SPECIAL32 = np.array(
    [
        *(0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 2.5, -2.5),
        *(np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-38, -1e-38, 3.4e38, -3.4e38),
        *(1 + 2**-23, 1 - 2**-24, -1 - 2**-23, -1 + 2**-24, 2.0**24, 2.0**24 - 1, 2.0**25),
    ],
    np.float32,
)
SPECIAL64 = np.array(
    [
        *(0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 2.5, -2.5),
        *(np.inf, -np.inf, np.nan, 5e-324, -5e-324, 2e-308, -2e-308, 1.7e308, -1.7e308),
        *(1 + 2**-52, 1 - 2**-53, -1 - 2**-52, -1 + 2**-53, 2.0**53, 2.0**53 - 1, 2.0**60),
    ],
    np.float64,
)


def padded(values: np.ndarray, multiple: int = 32) -> np.ndarray:
    """The values repeated from the start up to a multiple of the lanes."""
    return np.resize(values, -(-values.size // multiple) * multiple)


def pairs(values: np.ndarray) -> Arguments:
    """Every value with every value."""
    x, y = np.meshgrid(values, values)
    return padded(x.ravel()), padded(y.ravel())


def every_float32(step: int, start: int = 0, stop: int = 2**32) -> np.ndarray:
    """Every `step`-th bit pattern, with all special values."""
    bits = np.arange(start, stop, step, dtype=np.uint64).astype(np.uint32)
    return padded(np.concatenate([bits.view(np.float32), SPECIAL32]))


def unary32(step: int) -> list[Arguments]:
    """Samples of float32 for functions of one argument."""
    return [(every_float32(step),)]


def binary32(name: str, count: int, seed: int = 7) -> list[Arguments]:
    """Samples of float32 for functions of two arguments."""
    rng = np.random.default_rng(seed)

    def patterns() -> np.ndarray:
        return rng.integers(0, 2**32, count, dtype=np.uint64).astype(np.uint32).view(np.float32)

    x = rng.normal(size=count).astype(np.float32)
    y = rng.normal(size=count).astype(np.float32)
    out = [pairs(SPECIAL32), (patterns(), patterns()), (x, y)]
    if name == "power":
        base = np.exp(rng.uniform(-87, 88, count)).astype(np.float32)
        near_one = (1 + rng.normal(size=count) * 1e-4).astype(np.float32)
        for a in (base, near_one):
            with np.errstate(divide="ignore"):
                out.append((a, (rng.uniform(-104, 89, count) / np.log(a)).astype(np.float32)))
        out.append((rng.integers(-50, 50, count).astype(np.float32), np.round(x * 10)))
    return out


def unary64(name: str, count: int, seed: int = 7) -> list[Arguments]:
    """Finite float64 samples in the domain of a function of one argument."""
    rng = np.random.default_rng(seed)
    wide = np.exp(rng.uniform(-745, 709, count))
    small = rng.normal(size=count)
    match name:
        case "exponential" | "exponential-minus-one" | "logistic":
            samples = [rng.uniform(-746, 711, count), small, small * 1e-3, -np.exp(-wide % 700)]
        case "log" | "rsqrt" | "sqrt":
            samples = [wide, np.abs(small) + 1e-300, 1 + small * 1e-3]
        case "log-plus-one":
            samples = [np.expm1(rng.uniform(-36, 30, count)), wide, small * 1e-3]
        case "tanh" | "erf":
            samples = [
                small,
                rng.uniform(-22, 22, count),
                rng.uniform(-2, 2, count),
                1e-3 / (1 + wide),
            ]
        case "sine" | "cosine" | "tan":
            turns = rng.integers(0, 2**31, count) * (np.pi / 2)
            samples = [small, rng.uniform(-30, 30, count), wide, turns]
        case _:
            samples = [small, wide, -wide]
    return [(padded(s),) for s in samples]


def binary64(name: str, count: int, seed: int = 7) -> list[Arguments]:
    """Finite float64 samples in the domain of a function of two arguments."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=count), rng.normal(size=count)
    wide = np.exp(rng.uniform(-700, 700, count))
    if name == "power":
        near_one = 1 + x * 1e-9
        return [
            (np.exp(x), y * 50),
            (wide, rng.uniform(-744, 709, count) / np.log(wide)),
            (near_one, rng.uniform(-744, 709, count) / np.log(near_one)),
        ]
    if name == "remainder":
        # The loop takes a step per 24 bits of the quotient; a few lanes of the longest will do.
        return [(x * 1e5, y), (wide[:64], np.roll(wide, 1)[:64]), (wide, wide * np.abs(y))]
    return [
        (x, y),
        (wide * np.sign(x), np.roll(wide, 1) * np.sign(y)),
        (x * 1e-3, y),
        (x, y * 1e-3),
    ]


def narrow_codes(arity: int, count: int = 1 << 20, seed: int = 7) -> Arguments:
    """All 16-bit patterns, or random pairs of them."""
    if arity == 1:
        return (np.arange(1 << 16, dtype=np.uint16),)
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(0, 1 << 16, count, dtype=np.uint16) for _ in range(2))
    return x, y
