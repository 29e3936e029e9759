"""Kernels as LLVM functions, one for all kernels of a module that are the same code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llvmlite import ir

from tfaot.codegen.expression import Leaf
from tfaot.codegen.index import Sizes
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.emit import emit_kernel
from tfaot.codegen.kernels.identity import kernel_key
from tfaot.codegen.microkernel import POINTER, Microkernels
from tfaot.codegen.target import Target
from tfaot.codegen.types import I64
from tfaot.errors import TfaotError, UnsupportedError
from tfaot.ir.module import Instruction
from tfaot.schedule.fusion import Kernel
from tfaot.schedule.scratch import scratch_bytes
from tfaot.schedule.sizes import NOTHING


class KernelFunctions:
    """The kernel functions of a module, made when first asked for.

    Their parameters are the leaves, the results, the kernel's scratch, the rows of this call (B),
    and the rows of the whole call (n, of which B is a tile).

    Args:
        module: where they go.
        name: the model's name, with which theirs begin.
        target: for which CPU.
    """

    def __init__(self, module: ir.Module, name: str, target: Target) -> None:
        self.module = module
        self.name = name
        self.target = target
        self.microkernels = Microkernels(module, target, name)
        self._functions: dict[str, ir.Function] = {}

    def get(
        self,
        kernel: Kernel,
        packed: frozenset[int],
        pitched: frozenset[int],
        rows: Mapping[int, int],
    ) -> ir.Function:
        """The function of a kernel.

        Args:
            kernel: the kernel.
            packed: ids of the constants that lie in panels.
            pitched: ids of the arrays whose batch axis is not the first and holds n rows.
            rows: elements from row to row of the arrays whose rows are padded.
        """

        def describe(array: Instruction) -> str:
            words = [
                word
                for word, arrays in (("packed", packed), ("pitched", pitched))
                if id(array) in arrays
            ]
            return " ".join([*words, *(f"rows of {n}" for i, n in rows.items() if i == id(array))])

        key = kernel_key(kernel, describe)
        if key not in self._functions:
            name = f"{self.name}.kernel{len(self._functions)}"
            self._functions[key] = self._emit(kernel, name, packed, pitched, rows)
        return self._functions[key]

    def _emit(
        self,
        kernel: Kernel,
        name: str,
        packed: frozenset[int],
        pitched: frozenset[int],
        rows: Mapping[int, int],
    ) -> ir.Function:
        arrays = [*kernel.leaves, *kernel.results]
        count = sum(a is not None for a in arrays)

        def context_of(
            suffix: str, extra: Sequence[ir.Type]
        ) -> tuple[KernelContext, Sequence[ir.Value]]:
            types = [*([POINTER] * count), POINTER, I64, I64, *extra]
            function = ir.Function(
                self.module, ir.FunctionType(ir.VoidType(), types), f"{name}{suffix}"
            )
            function.linkage = "internal"
            function.attributes.add("noinline")
            for argument in function.args[: count + 1]:
                argument.add_attribute("noalias")
            pointers = iter(function.args)
            scratch, batch, whole_batch = function.args[count : count + 3]
            sizes, pitch = Sizes(batch), Sizes(whole_batch)

            def leaf(array: Instruction | None) -> Leaf | None:
                if array is None:
                    return None
                strides = pitch if id(array) in pitched else None
                return Leaf(next(pointers), array.array, strides, rows.get(id(array)))

            leaves = {id(x): leaf(x) for x in kernel.leaves}
            results = [leaf(r) for r in kernel.results]
            context = KernelContext(
                kernel=kernel,
                target=self.target,
                builder=ir.IRBuilder(function.append_basic_block("entry")),
                sizes=sizes,
                leaves={k: v for k, v in leaves.items() if v is not None},
                results=results,
                microkernels=self.microkernels,
                packed=packed,
                parameters=function.args[: count + 3],
                scratch=None if scratch_bytes(kernel) == NOTHING else scratch,
                nested=lambda s, t: context_of(f".{s}", t),
            )
            return context, function.args[count + 3 :]

        context, _ = context_of("", [])
        try:
            emit_kernel(context)
        except TfaotError:
            raise
        except (AssertionError, NotImplementedError, KeyError, TypeError, ValueError) as error:
            root = kernel.root
            raise UnsupportedError(
                f"code generation failed for '{root.opcode}' {root.shape} "
                f"in layer '{root.metadata.op_name or 'unknown'}': {type(error).__name__} {error}"
            ) from error
        context.builder.ret_void()
        return context.builder.function
