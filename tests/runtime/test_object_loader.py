"""The loader of relocatable objects, on what compilers emit and on what is broken."""

import ctypes
import random
import shutil
import struct
import subprocess

import llvmlite.binding as llvm
import pytest
from toy_artifact import toy_manifest, toy_object

from tfaot.errors import ArtifactError
from tfaot.packaging.elf import ElfObject
from tfaot.packaging.manifest import Target
from tfaot.runtime.cpu import LEVELS, best_level, check_cpu, required_flags
from tfaot.runtime.elf import LoadedObject

SOURCE = r"""
typedef long long i64;
static i64 counter;                       /* .bss */
static i64 start = 40;                    /* .data */
static const double table[3] __attribute__((aligned(64))) = {0.5, 1.5, 2.5};
static const char *const words[] = {"zero", "one", "two"};  /* pointers: .data.rel.ro */
i64 shared_value = 7;                     /* global: reached through a table of addresses */
static __attribute__((noinline)) i64 twice(i64 x) { return x + x; }
static __attribute__((noinline)) i64 thrice(i64 x) { return 3 * x; }
static i64 (*const functions[])(i64) = {twice, thrice};
extern i64 helper(i64 x);
__attribute__((noinline)) i64 helper(i64 x) { return x + shared_value; }

i64 test_counter(i64 n) { counter += n; return counter + start; }
double test_table(i64 n) { return table[n]; }
i64 test_word(i64 n) { return words[n][0]; }
i64 test_call(i64 n) { return functions[n & 1](helper(n)); }
i64 test_aligned(i64 n) { return ((i64)&table[0] % 64) + ((i64)&counter % 8) + n; }
i64 test_switch(i64 n) {
  switch (n) {
    case 0: return 11; case 1: return 5; case 2: return twice(n); case 3: return 77;
    case 4: return 8; case 5: return thrice(n); case 6: return -3; default: return -1;
  }
}
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    folder = tmp_path_factory.mktemp("objects")
    (folder / "test.c").write_text(SOURCE)

    def build(*flags):
        path = folder / ("_".join(flags).replace("-", "").replace("=", "") + ".o")
        common = ["-c", "-O1", "-fno-stack-protector", "-fcf-protection=none"]
        command = [compiler, *common, *flags, str(folder / "test.c"), "-o", str(path)]
        subprocess.run(command, check=True)
        return path

    return build


@pytest.mark.parametrize(
    "flags",
    [
        ("-fPIC",),
        ("-fPIC", "-O2", "-ffunction-sections", "-fdata-sections"),
        ("-fPIE",),
        ("-fno-pic", "-no-pie"),
        ("-fno-pic", "-mcmodel=large"),
        ("-fPIC", "-O0"),
    ],
    ids=" ".join,
)
def test_what_compilers_emit(compiled, flags):
    loaded = LoadedObject(compiled(*flags))

    def call(name, argument, result=ctypes.c_int64):
        return ctypes.CFUNCTYPE(result, ctypes.c_int64)(loaded.address(name))(argument)

    assert [call("test_counter", n) for n in (1, 2, 3)] == [41, 43, 46]
    assert [call("test_table", n, ctypes.c_double) for n in range(3)] == [0.5, 1.5, 2.5]
    assert [chr(call("test_word", n)) for n in range(3)] == ["z", "o", "t"]
    assert [call("test_call", n) for n in (2, 3)] == [18, 30]
    assert call("test_aligned", 0) == 0
    assert [call("test_switch", n) for n in range(8)] == [11, 5, 4, 77, 8, 15, -3, -1]
    with pytest.raises(ArtifactError, match="no function 'nothing'"):
        loaded.address("nothing")
    with pytest.raises(ArtifactError, match="no function 'shared_value'"):
        loaded.address("shared_value")


def mapping_of(address):
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            if low <= address < high:
                return line.split()
    raise AssertionError(hex(address))


def test_nothing_is_writable_and_executable_and_weights_stay_in_the_file(compiled, tmp_path):
    data, _ = toy_object(toy_manifest())
    path = tmp_path / "toy.o"
    path.write_bytes(data)
    loaded = LoadedObject(path)
    run = loaded.address("toy_run")
    assert mapping_of(run)[1] == "r-xp"
    base = next(s for s in ElfObject(data).sections if s.name.endswith(".weights"))
    with open("/proc/self/maps", encoding="utf-8") as maps:
        mine = [line.split() for line in maps if line.rstrip().endswith(str(path))]
    assert [m[1] for m in mine] == ["r--p"]  # never written to, so shared by all processes
    start = int(mine[0][0].split("-")[0], 16)
    weights = (ctypes.c_float * 4).from_address(start + base.offset)
    assert list(weights) == [1.0, -2.0, 0.5, 100.0]


def test_memory_is_released(tmp_path):
    path = tmp_path / "toy.o"
    path.write_bytes(toy_object(toy_manifest())[0])
    loaded = LoadedObject(path)
    address = loaded.address("toy_run")
    del loaded
    with pytest.raises(AssertionError):
        mapping_of(address)


def test_undefined_symbols_are_named(compiled, tmp_path):
    source = tmp_path / "needs.c"
    source.write_text("double exp(double); double test_exp(double x) { return exp(x); }")
    path = tmp_path / "needs.o"
    subprocess.run(["gcc", "-c", "-fno-builtin", str(source), "-o", str(path)], check=True)
    with pytest.raises(ArtifactError, match=r"not self-contained, it needs exp"):
        LoadedObject(path)


def load(path, data):
    path.write_bytes(data)
    return LoadedObject(path)


def test_truncated_objects(tmp_path):
    data, _ = toy_object(toy_manifest())
    for end in range(1, len(data), 11):
        with pytest.raises(ArtifactError):
            load(tmp_path / "cut.o", data[:end])


def test_other_files(tmp_path):
    data, _ = toy_object(toy_manifest())
    path = tmp_path / "x.o"
    with pytest.raises(ArtifactError, match="not an ELF object"):
        load(path, b"MZ" + bytes(200))
    with pytest.raises(ArtifactError, match="relocatable"):
        load(path, data[:16] + struct.pack("<H", 3) + data[18:])
    with pytest.raises(ArtifactError, match="for aarch64"):
        load(path, data[:18] + struct.pack("<H", 183) + data[20:])


def test_damaged_headers_never_crash(tmp_path):
    """Any damage to headers, symbols or relocations is refused, or harmless: nothing is run."""
    data, _ = toy_object(toy_manifest())
    elf = ElfObject(data)
    tables = [range(0, 64)]
    tables += [range(s.offset, s.offset + s.size) for s in elf.sections if s.kind in (2, 3, 4)]
    tables.append(range(len(data) - 64 * len(elf.sections), len(data)))
    places = [place for table in tables for place in table]
    generator = random.Random(1)
    messages = []
    for _ in range(1500):
        damaged = bytearray(data)
        for _ in range(generator.choice((1, 1, 4))):
            damaged[generator.choice(places)] = generator.choice((0, 1, 0x7F, 0x80, 0xFF))
        try:
            load(tmp_path / "damaged.o", bytes(damaged))
        except ArtifactError as error:
            messages.append(str(error))
    assert len(messages) > 300
    assert not [m for m in messages if "\n" in m]


@pytest.mark.parametrize("level", list(LEVELS))
def test_cpu_levels(level):
    target = Target("x86_64-unknown-linux-gnu", (level,))
    flags = frozenset(LEVELS[level])
    assert required_flags(target) == flags
    assert best_level(flags) == level
    for flag in flags:
        with pytest.raises(
            ArtifactError, match=f"lacks {flag}: compile again with --target x86-64"
        ):
            check_cpu(target, flags - {flag})


def test_cpu_features():
    def needs(cpu, *features):
        return required_flags(Target("x86_64-unknown-linux-gnu", (cpu,), features))

    assert needs("x86-64", "+avx512vnni", "+sse4.2") == {"avx512_vnni", "sse4_2"}
    assert "avx2" not in needs("x86-64-v3", "-avx2")
    assert needs("x86-64", "+some-new-thing") == set()
    assert "avx512f" in needs("znver4")
    assert needs("znver4", "+avx2") == {"avx2"}
    assert needs("haswell") == set(LEVELS["x86-64-v3"])


def test_native_target_runs_here():
    """What LLVM finds on this machine is what /proc/cpuinfo says, in other words."""
    features = tuple(f"+{name}" for name, on in llvm.get_host_cpu_features().items() if on)
    check_cpu(Target("x86_64-unknown-linux-gnu", (llvm.get_host_cpu_name(),), features))
