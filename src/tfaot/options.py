"""Options of one compilation, as the command line and `tfaot.compile` gather them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Union

from tfaot.errors import UsageError

DEFAULT_TARGET = "portable"
DEFAULT_NAMESPACE = "tfaot_model"
EMIT_KINDS = ("asm", "hlo", "ll")
INTERFACES = ("c++", "tfcompile")
INTERNAL, EXTERNAL = "internal", "external"
WEIGHTS = (INTERNAL, EXTERNAL)

SetValue = Union[bool, int, float, str, tuple["SetValue", ...]]


@dataclass(frozen=True)
class CompileOptions:
    """What to compile and how; every field is one option of `tfaot compile`.

    Attributes:
        output_dir: folder that receives NAME.h, NAME.o and NAME.json.
        name: C identifier that all symbols and files are named by; None takes the model's own.
        signature: key of the SavedModel signature; None takes `serving_default` or the only one.
        inputs: names of the graph's inputs, in order; empty lets the frontend find them.
        outputs: names of the graph's outputs, in order; empty lets the frontend find them.
        input_shapes: for inputs with unknown axes, sizes per axis; None is the batch axis.
        set_values: placeholders of frozen graphs that are fixed to a value.
        custom_objects: Keras custom objects (layers, functions) by name, or texts
            `module:name` (`module` for all that it defines).
        target: `portable` (all levels of x86-64 from v2, chosen as the program runs), `native`, a
            level, several of them, an LLVM cpu name, or a platform (`aarch64-linux`).
        batch_sizes: static batch sizes, ascending, for models without a symbolic form; those that
            get a class in the tfcompile interface.
        static: whether to compile for `batch_sizes` alone even where one code serves any size.
        interface: headers to write, of `INTERFACES`: `c++` is NAME.h alone, `tfcompile` adds a
            header NAME_bs<N>.h in the shape of tfcompile's for each of `batch_sizes` (default: 1).
        namespace: C++ namespace of the generated class (`a::b` nests).
        xla_flags: flags added to XLA_FLAGS in the lowering.
        tf_xla_flags: flags added to TF_XLA_FLAGS in the lowering.
        weights: `internal`, in the object, or `external`, in NAME.weights.
        emit: intermediate files to write next to the artifact, of `EMIT_KINDS`.
        self_test: whether golden rows and NAME_self_test, which runs them, are in the object.
        timers: whether each kernel is timed, for `tfaot profile --kernels`; not for production.
        verify: whether the result is verified against TensorFlow and the float64 interpreter.
        model_version: version of the model, for the manifest (from a configuration file).
        description: one line about the model, for the manifest.
        author: who made the model, for the manifest.
    """

    output_dir: Path
    name: str | None = None
    signature: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    input_shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    set_values: Mapping[str, SetValue] = field(default_factory=dict)
    custom_objects: Mapping[str, object] | tuple[str, ...] = ()
    target: str = DEFAULT_TARGET
    batch_sizes: tuple[int, ...] = ()
    static: bool = False
    interface: str = "c++"
    namespace: str = DEFAULT_NAMESPACE
    xla_flags: tuple[str, ...] = ()
    tf_xla_flags: tuple[str, ...] = ()
    weights: str = INTERNAL
    emit: tuple[str, ...] = ()
    self_test: bool = False
    timers: bool = False
    verify: bool = True
    model_version: str | None = None
    description: str | None = None
    author: str | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without the model; UsageError names the option."""
        if self.name is not None:
            check_name(self.name)
        check_namespace(self.namespace)
        if not self.target.strip():
            raise UsageError("--target is empty: give portable, native, a CPU or a platform")
        for size in self.batch_sizes:
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise UsageError(f"--batch-sizes: {size!r} is not a positive integer")
        if tuple(sorted(set(self.batch_sizes))) != self.batch_sizes:
            object.__setattr__(self, "batch_sizes", tuple(sorted(set(self.batch_sizes))))
        if self.self_test and self.weights == EXTERNAL:
            raise UsageError("--self-test needs the weights in the object: not --weights external")
        if self.static and not self.batch_sizes:
            raise UsageError("--static needs the sizes to compile for: --batch-sizes 1,2,4,8")
        if self.interface not in INTERFACES:
            known = ", ".join(INTERFACES)
            raise UsageError(f"--interface: '{self.interface}' is not known, choose from {known}")
        if self.weights not in WEIGHTS:
            raise UsageError(
                f"--weights: '{self.weights}' is not known, use {' or '.join(WEIGHTS)}"
            )
        for kind in self.emit:
            if kind not in EMIT_KINDS:
                known = ", ".join(EMIT_KINDS)
                raise UsageError(f"--emit: '{kind}' is not known, choose from {known}")


_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z", re.ASCII)

# Words of C11, C++20 and their alternative tokens, and macros that common compilers predefine.
RESERVED_WORDS = frozenset(
    """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t
    char32_t class compl concept const consteval constexpr constinit const_cast continue co_await
    co_return co_yield decltype default delete do double dynamic_cast else enum explicit export
    extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq
    nullptr operator or or_eq private protected public register reinterpret_cast requires restrict
    return short signed sizeof static static_assert static_cast struct switch template this
    thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned using
    virtual void volatile wchar_t while xor xor_eq linux unix near far min max errno assert std main
    NULL EOF I INFINITY NAN TRUE FALSE DOMAIN OVERFLOW UNDERFLOW stdin stdout stderr complex
    imaginary noreturn
    """.split()  # noqa: SIM905 (one word a line would take a hundred lines)
)


# Headers of C, POSIX and glibc: NAME.h in a folder of the include path would be taken for them.
SYSTEM_HEADERS = frozenset(
    """
    aio alloca assert complex cpio ctype dirent dlfcn elf endian err errno error fcntl features
    fenv float fmtmsg fnmatch ftw getopt glob grp iconv inttypes iso646 langinfo libgen limits link
    locale malloc math memory monetary mqueue ndbm netdb nl_types poll pthread pwd regex sched
    search semaphore setjmp signal spawn stdalign stdarg stdatomic stdbit stdbool stdckdint stddef
    stdint stdio stdlib stdnoreturn string strings stropts syslog tar termios tgmath threads time
    trace uchar ulimit unistd utime utmpx values wait wchar wctype wordexp
    """.split()  # noqa: SIM905
)


def check_name(name: str) -> str:
    """`name` if it can name a C function and a C++ class; UsageError otherwise."""
    if not _IDENTIFIER.match(name):
        raise UsageError(
            f"name '{name}' is no C identifier: use letters, digits and underscores, "
            "beginning with a letter (--name)"
        )
    if name in RESERVED_WORDS:
        raise UsageError(f"name '{name}' is a reserved word of C or C++: choose another (--name)")
    if name.lower() in SYSTEM_HEADERS:
        raise UsageError(
            f"name '{name}': its header would be taken for the system's <{name.lower()}.h>, "
            f"choose another, such as {name}_model (--name)"
        )
    if name.lower().startswith("tfaot_"):
        raise UsageError(
            f"name '{name}': names that begin with tfaot_ are those of the header's own types, "
            "choose another (--name)"
        )
    return name


def check_namespace(namespace: str) -> str:
    """`namespace` if it is one or more C++ identifiers joined by `::`; UsageError otherwise."""
    for part in namespace.split("::"):
        if not _IDENTIFIER.match(part) or part in RESERVED_WORDS:
            raise UsageError(f"namespace '{namespace}' is not a C++ namespace (such as a::b)")
    return namespace


def make_options(output_dir: str | Path, **options: Any) -> CompileOptions:
    """Options from a Python call: lists, a single value or a string of flags become tuples.

    Raises:
        UsageError: an unknown option, or a wrong value.
    """
    known = {f.name for f in fields(CompileOptions)} - {"output_dir"}
    for key in options:
        if key not in known:
            raise UsageError(f"there is no option '{key}', known are {', '.join(sorted(known))}")
    given = {key: value for key, value in options.items() if value is not None}
    for key in ("xla_flags", "tf_xla_flags"):
        if isinstance(given.get(key), str):
            given[key] = given[key].split()
    for key in ("inputs", "outputs", "batch_sizes", "xla_flags", "tf_xla_flags", "emit"):
        if key in given:
            value = given[key]
            given[key] = (value,) if isinstance(value, (str, int)) else tuple(value)
    if "emit" in given:
        given["emit"] = tuple(sorted(set(given["emit"])))
    if isinstance(given.get("custom_objects"), (str, list)):
        objects = given["custom_objects"]
        given["custom_objects"] = (objects,) if isinstance(objects, str) else tuple(objects)
    if "input_shapes" in given:
        given["input_shapes"] = {k: tuple(v) for k, v in given["input_shapes"].items()}
    return CompileOptions(Path(output_dir), **given)
