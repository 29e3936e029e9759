"""A hand-written model for tests of packaging and loading, made without the code generator.

y = 2*x + w with w in a section of its own (as weights are), positive = d > 0.
"""

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import llvmlite.binding as llvm

from tfaot.artifact import Artifact, write_artifact
from tfaot.packaging.header import header_text
from tfaot.packaging.info import info_ir
from tfaot.packaging.manifest import (
    AffineDim,
    Batch,
    Kernel,
    Manifest,
    ObjectFile,
    Source,
    Symbols,
    Target,
    Tensor,
    Workspace,
)
from tfaot.packaging.names import unique_c_names
from tfaot.packaging.object_file import set_sizes

WEIGHTS = (1.0, -2.0, 0.5, 100.0)
TRIPLE = "x86_64-unknown-linux-gnu"

_IR = """
target triple = "{triple}"
module asm ".section .rodata.{name}.weights,\\22a\\22,@progbits"
module asm ".p2align 6"
module asm "{name}_weights:"
module asm ".long {words}"
module asm ".text"
@{name}_weights = external hidden constant [4 x float], align 64

define i64 @{name}_workspace_bytes(i64 %n) {{
  %some = mul i64 %n, {per_row}
  %all = add i64 %some, 64
  ret i64 %all
}}

define i32 @{name}_run(i64 %n, ptr %x, ptr %d, ptr %y, ptr %p, ptr %ws) {{
entry:
  %negative = icmp slt i64 %n, 0
  br i1 %negative, label %bad1, label %pointers
pointers:
  %nx = icmp eq ptr %x, null
  %nd = icmp eq ptr %d, null
  %ny = icmp eq ptr %y, null
  %np = icmp eq ptr %p, null
  %nw = icmp eq ptr %ws, null
  %o1 = or i1 %nx, %nd
  %o2 = or i1 %ny, %np
  %o3 = or i1 %o1, %o2
  %o4 = or i1 %o3, %nw
  br i1 %o4, label %bad2, label %aligned
aligned:
  %address = ptrtoint ptr %ws to i64
  %low = and i64 %address, 63
  %misaligned = icmp ne i64 %low, 0
  br i1 %misaligned, label %bad3, label %loop
loop:
  %i = phi i64 [ 0, %aligned ], [ %next, %body ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %done
body:
  %row = mul i64 %i, 4
  %xp = getelementptr float, ptr %x, i64 %row
  %yp = getelementptr float, ptr %y, i64 %row
  %xv = load <4 x float>, ptr %xp, align 4
  %wv = load <4 x float>, ptr @{name}_weights, align 64
  store <4 x float> %xv, ptr %ws, align 64
  %twice = fadd <4 x float> %xv, %xv
  %sum = fadd <4 x float> %twice, %wv
  store <4 x float> %sum, ptr %yp, align 4
  %dp = getelementptr double, ptr %d, i64 %i
  %dv = load double, ptr %dp, align 8
  %positive = fcmp ogt double %dv, 0.0
  %byte = zext i1 %positive to i8
  %pp = getelementptr i8, ptr %p, i64 %i
  store i8 %byte, ptr %pp, align 1
  %next = add i64 %i, 1
  br label %loop
done:
  ret i32 0
bad1:
  ret i32 1
bad2:
  ret i32 2
bad3:
  ret i32 3
}}
"""


def toy_manifest(
    name: str = "toy",
    names: tuple[str, str, str, str] = ("x", "double", "y/out:0", "größer */ 0?"),
    growing: bool = False,
    cpu: str = "x86-64-v3",
) -> Manifest:
    batch = AffineDim(1)
    c_names = unique_c_names(names)
    tensors = [
        Tensor(n, c, t, (batch, 4) if t == "f32" else (batch,))
        for n, c, t in zip(names, c_names, ("f32", "f64", "f32", "pred"), strict=True)
    ]
    return Manifest(
        name=name,
        inputs=tuple(tensors[:2]),
        outputs=tuple(tensors[2:]),
        batch=Batch("symbolic", (), True),
        workspace=Workspace(None, coefficients=(64, 16)) if growing else Workspace(64),
        weights_bytes=16,
        parameter_bytes=16,
        code_bytes=0,
        data_bytes=0,
        stack_bytes=None,
        target=Target(TRIPLE, (cpu,)),
        object=ObjectFile(f"{name}.o", "0" * 64),
        symbols=Symbols.of(name),
        source=Source("test", hashlib.sha256(b"toy").hexdigest(), description='a "toy" \\ model'),
        kernels=(Kernel("scale", "elementwise", ("layer/one",)),),
        versions={"tfaot": "0.1.0", "llvm": "22.1.0"},
    )


def emit(ir: str, relocation: str = "pic", level: int = 2) -> bytes:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu="x86-64", reloc=relocation, codemodel="small", opt=level
    )
    module = llvm.parse_assembly(ir)
    module.verify()
    return bytes(machine.emit_object(module))


def toy_object(manifest: Manifest, relocation: str = "pic") -> tuple[bytes, Manifest]:
    ir = _IR.format(
        name=manifest.name,
        triple=TRIPLE,
        words=", ".join(str(struct.unpack("<I", struct.pack("<f", w))[0]) for w in WEIGHTS),
        per_row=16 if manifest.workspace.bytes is None else 0,
    )
    return set_sizes(emit(ir + info_ir(manifest), relocation), manifest)


def write_toy(directory: Path, manifest: Manifest | None = None, **options: object) -> Artifact:
    manifest = manifest or toy_manifest(**options)
    data, manifest = toy_object(manifest)
    return write_artifact(directory, manifest.name, header_text(manifest), data, manifest)


def rewrite_manifest(artifact: Artifact, **changes: object) -> None:
    from tfaot.packaging.manifest import read_manifest

    manifest = replace(read_manifest(artifact.manifest), **changes)
    artifact.manifest.write_text(manifest.to_json(), encoding="utf-8")
