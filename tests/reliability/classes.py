"""C++ that calls the class of every model, in every way, and compares the bits.

Input: manifests of artifacts in one folder. Output: a program; with an argument T, that many
threads call each model at once, its first call among them.
"""

from __future__ import annotations

from collections.abc import Iterable

from tfaot.packaging.header import class_name
from tfaot.packaging.manifest import Manifest, Tensor

_START = """
#include "zoo.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

template <typename T>
std::vector<T> filled(std::int64_t size, int dtype, unsigned seed) {
  std::vector<T> data(static_cast<std::size_t>(size));
  fill(reinterpret_cast<byte *>(data.data()), data.size() * sizeof(T), dtype, seed);
  return data;
}

template <typename T>
bool same(const std::vector<T> &one, const std::vector<T> &other) {
  return one.size() == other.size() &&
         (one.empty() || std::memcmp(one.data(), other.data(), one.size() * sizeof(T)) == 0);
}
"""

_END = """
using check_function = int(std::int64_t);

static int race(check_function *check, std::int64_t n, int count) {
  std::atomic<int> waiting{count}, failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < count; ++t) {
    threads.emplace_back([&] {
      for (--waiting; waiting > 0;) std::this_thread::yield();
      if (const int problem = check(n)) failed = problem;
    });
  }
  for (std::thread &thread : threads) thread.join();
  return failed;
}

int main(int argc, char **argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 1;
  static check_function *const checks[] = {CHECKS};
  for (int m = 0; m < NUM_MODELS; ++m) {
    for (const std::int64_t n : {1, 5, 17}) {
      const int problem = race(checks[m], n, count);
      if (problem != 0) {
        std::printf("%s: problem %d with %d rows\\n", models[m]()->name, problem, (int)n);
        return 1;
      }
    }
  }
  std::printf("done\\n");
  return 0;
}
"""


def program_of(manifests: Iterable[Manifest]) -> str:
    """The program, for models in the order of models.h."""
    chosen = list(manifests)
    checks = ", ".join(f"check_{m.name}" for m in chosen)
    return _START + "".join(map(_check, chosen)) + _END.replace("CHECKS", checks)


def _size(tensor: Tensor) -> str:
    fixed = all(isinstance(d, int) for d in tensor.dims)
    return f"M::size_{tensor.c_name}({'' if fixed else 'n'})"


def _check(manifest: Manifest) -> str:
    """`int check_NAME(n)`: 0 where vectors, pointers and a kept workspace give the same bits."""
    inputs, outputs = manifest.inputs, manifest.outputs
    lines = [
        f"static int check_{manifest.name}(std::int64_t n) {{",
        f"  using M = tfaot_model::{class_name(manifest)};",
        "  const M model;",
        "  M::workspace memory;",
        "  (void)n;",
    ]
    for number, tensor in enumerate(inputs):
        kind = f"M::type_{tensor.c_name}"
        lines.append(
            f"  const std::vector<{kind}> in{number} = "
            f"filled<{kind}>({_size(tensor)}, {tensor.ctype.code}, {number + 1});"
        )
    for number, tensor in enumerate(outputs):
        kind = f"std::vector<M::type_{tensor.c_name}>"
        lines.append(f"  {kind} y{number}, z{number}(static_cast<std::size_t>({_size(tensor)}));")
    vectors = [*(f"in{i}" for i in range(len(inputs))), *(f"y{i}" for i in range(len(outputs)))]
    pointers = [*(f"in{i}.data()" for i in range(len(inputs)))]
    pointers += [f"z{i}.data()" for i in range(len(outputs))]
    compare = " && ".join(f"same(y{i}, z{i})" for i in range(len(outputs)))
    clear = " ".join(
        f"std::fill(z{i}.begin(), z{i}.end(), decltype(z{i})::value_type{{}});"
        for i in range(len(outputs))
    )
    by_pointer = ", ".join(pointers)
    lines += [
        f"  if (model.run(n, {', '.join(vectors)}) != TFAOT_OK) return 1;",
        f"  if (model.run(n, {by_pointer}) != TFAOT_OK || !({compare})) return 2;",
        f"  {clear}",
        f"  if (model.run(n, {by_pointer}, memory) != TFAOT_OK || !({compare})) return 3;",
        f"  {clear}",
        f"  model.run_or_throw(n, {by_pointer}, memory);",
        f"  return {compare} ? 0 : 4;",
        "}\n",
    ]
    return "\n".join(lines)
