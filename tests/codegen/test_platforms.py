"""What `--target` may say, and what it means."""

from __future__ import annotations

import pytest

from tfaot.codegen.platforms import LEVELS, PLATFORMS, parse_target
from tfaot.codegen.target import resolve_targets
from tfaot.errors import UsageError

X86, ARM = PLATFORMS["x86-64-linux"], PLATFORMS["aarch64-linux"]


@pytest.mark.parametrize(
    ("text", "platform", "cpus"),
    [
        ("portable", "x86-64-linux", LEVELS),
        ("x86-64-v3", "x86-64-linux", ("x86-64-v3",)),
        ("x86-64-v4, x86-64-v2", "x86-64-linux", ("x86-64-v2", "x86-64-v4")),
        ("x86-64-v3,x86-64-v3", "x86-64-linux", ("x86-64-v3",)),
        ("skylake-avx512", "x86-64-linux", ("skylake-avx512",)),
        ("aarch64", "aarch64-linux", ("generic",)),
        ("aarch64-linux:neoverse-n1", "aarch64-linux", ("neoverse-n1",)),
        ("neoverse-v1", "aarch64-linux", ("neoverse-v1",)),
        ("arm64-macos", "arm64-macos", ("apple-m1",)),
        ("x86-64-windows", "x86-64-windows", LEVELS),
        ("x86-64-windows:x86-64-v3", "x86-64-windows", ("x86-64-v3",)),
        ("ppc64le-linux:pwr9", "ppc64le-linux", ("pwr9",)),
    ],
)
def test_names(text, platform, cpus):
    assert parse_target(text, X86) == (PLATFORMS[platform], cpus)


def test_portable_is_what_the_host_is():
    assert parse_target("portable", ARM) == (ARM, ("generic",))
    assert parse_target("x86-64-v3", ARM) == (X86, ("x86-64-v3",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x86-64-v5", r"'x86-64-v5' is not a CPU that LLVM knows: did you mean x86-64-v\d\?"),
        ("sparc", "'sparc' is not a CPU .* or a platform"),
        ("haswell,x86-64-v4", "'haswell' can't be one of several"),
        ("x86-64-v3,neoverse-n1", "x86-64-v3 and neoverse-n1 are not of one platform"),
        ("solaris:generic", "'solaris' is no platform, known are x86-64-linux"),
        ("aarch64-linux:x86-64-v3", "'x86-64-v3' is not a CPU"),
        (",", "'' is not a CPU"),
        ("aarch64-linux:", "'' is not a CPU"),
    ],
)
def test_wrong_names(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        parse_target(text, X86)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_llvm_says_of_a_platform(platform):
    for target in resolve_targets(platform):
        assert target.vector_bytes in (8, 16, 32, 64)
        assert target.has_fma == (target.cpu != "x86-64-v2")
        assert target.triple == PLATFORMS[platform].triple
