"""Nothing that is emitted may turn into a call, on any target."""

from __future__ import annotations

import shutil

import pytest
from measure import AARCH64, V2, V3, V4, Cpu, module_of, undefined_symbols

from tfaot.codegen.math import MATH, exp_nonpositive, expm1_nonpositive
from tfaot.codegen.types import F32, F64

CPUS = (V2, V3, V4, AARCH64)
EMITTERS = {name: (f.emit, f.arity) for name, f in MATH.items()}
EMITTERS["exp_nonpositive"] = (exp_nonpositive, 1)
EMITTERS["expm1_nonpositive"] = (expm1_nonpositive, 1)

pytestmark = pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm (binutils)")


@pytest.mark.parametrize("lanes", [None, 16])
@pytest.mark.parametrize("cpu", CPUS, ids=lambda c: c.name)
@pytest.mark.parametrize("name", sorted(EMITTERS))
def test_objects_have_no_undefined_symbols(name: str, cpu: Cpu, lanes: int | None) -> None:
    emit, arity = EMITTERS[name]
    for element in (F32, F64):
        module = module_of(emit, [element] * arity, element, lanes, cpu)
        assert undefined_symbols(module, cpu) == []
