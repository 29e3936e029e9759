"""Numbers and names as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tfaot.packaging.manifest import Dim, ListedDim, Tensor


def byte_text(count: float) -> str:
    """Bytes in decimal units, three digits."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return (
                f"{count / size:.3g} {unit}"
                if count < 1000 * size
                else f"{count / size:.0f} {unit}"
            )
    return f"{count:.0f} byte{'' if count == 1 else 's'}"


def count_text(count: float) -> str:
    """A large number with a unit: 1.5 M."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.3g}"


def second_text(seconds: float) -> str:
    """A time with a unit, three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def percent_text(share: float) -> str:
    """A share as a percentage; what is there but rounds to nothing is told apart from 0."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


def polynomial_text(coefficients: Sequence[int]) -> str:
    """`64 + 128 n` bytes."""
    powers = ("", " n", " n²", " n³")
    terms = [
        f"{c}{powers[k] if k < len(powers) else f' n^{k}'}" for k, c in enumerate(coefficients) if c
    ]
    return " + ".join(terms) or "0"


def at(coefficients: Sequence[int], rows: int) -> int:
    """The value of a polynomial."""
    return sum(int(c) * rows**power for power, c in enumerate(coefficients))


def tensor_text(tensor: Tensor) -> str:
    """Type and shape: `f32[n, 4]`."""
    varying = tensor.varying.axes if tensor.varying is not None else ()
    dims = ("≤ " * (axis in varying) + _dim(dim) for axis, dim in enumerate(tensor.dims))
    return f"{tensor.dtype}[{', '.join(dims)}]"


def _dim(dim: Dim) -> str:
    if isinstance(dim, int):
        return str(dim)
    if isinstance(dim, ListedDim):
        return "|".join(map(str, dim.sizes))
    head = {1: "n", -1: "-n"}.get(dim.scale, f"{dim.scale}n")
    return head if dim.offset == 0 else f"{head}{dim.offset:+d}"


class LayerNames:
    """Layers as people know them, from the names of TensorFlow ops.

    An op `model/dense_1/MatMul` is of the layer `model/dense_1`; what all layers of the model begin
    with is left out.
    """

    def __init__(self, ops: Iterable[str]) -> None:
        folders = [_folder(op) for op in ops if op]
        common = folders[0] if folders else []
        for folder in folders:
            same = 0
            while same < min(len(common), len(folder)) and common[same] == folder[same]:
                same += 1
            common = common[:same]
        shortest = min(map(len, folders), default=0)
        self._skip = min(len(common), max(shortest - 1, 0))

    def layer(self, op: str) -> str:
        """The layer of an op, empty for an op without a name."""
        return "/".join(_folder(op)[self._skip :]) if op else ""

    def short(self, op: str) -> str:
        """The op's name without what all have in common."""
        parts = op.split("/")
        skip = self._skip if len(parts) > self._skip else 0
        return "/".join(parts[skip:])


def _folder(op: str) -> list[str]:
    parts = op.split("/")
    return parts[:-1] or parts
