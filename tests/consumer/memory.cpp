// Runs of the C++ class that must not allocate, and two that must, which shows that calls count.
#include "dense.h"
#include "heap.h"
#include "mixing.h"

#include <cstdio>
#include <vector>

namespace {

int failures = 0;

template <typename Call>
void expect(const char *what, bool allocates, Call call) {
  const long before = heap_calls;
  const int status = call();
  const long count = heap_calls - before;
  if (status != TFAOT_OK || (count != 0) != allocates) {
    std::printf("%s: status %d, %ld calls of the heap\n", what, status, count);
    ++failures;
  }
}

}  // namespace

int main() {
  using tfaot_model::dense;
  using tfaot_model::mixing;
  static_assert(dense::stack_bytes == DENSE_STACK_BYTES && dense::code_bytes == DENSE_CODE_BYTES);
  static_assert(dense::data_bytes == DENSE_DATA_BYTES);
  static_assert(dense::weights_bytes == DENSE_WEIGHTS_BYTES);
  static_assert(DENSE_WORKSPACE_BYTES <= TFAOT_MAX_STACK_BYTES, "else a run would allocate");
  const dense model;
  const mixing growing;
  const std::int64_t rows = 1000;
  std::vector<float> features(rows * 9, 0.5F), scores(rows * 3);
  std::vector<float> x(rows * 6, 0.25F), y(rows * 6), total(6);
  std::vector<unsigned char> memory(DENSE_WORKSPACE_BYTES + 64);
  unsigned char *aligned = memory.data();
  while (reinterpret_cast<std::uintptr_t>(aligned) % 64 != 0) ++aligned;
  dense::workspace workspace(rows);
  mixing::workspace own(rows);

  expect("own memory", false,
         [&] { return model.run(rows, features.data(), scores.data(), aligned); });
  expect("workspace", false,
         [&] { return model.run(rows, features.data(), scores.data(), workspace); });
  expect("pointers", false, [&] { return model.run(rows, features.data(), scores.data()); });
  expect("vectors", false, [&] { return model.run(rows, features, scores); });
  expect("growing, workspace", false, [&] { return growing.run(rows, x, y, total, own); });
  expect("growing, few rows", false,
         [&] { return growing.run(2, x.data(), y.data(), total.data()); });
  expect("growing, many rows", true,
         [&] { return growing.run(rows, x.data(), y.data(), total.data()); });
  expect("a new workspace", true, [&] {
    dense::workspace fresh;
    return model.run(rows, features.data(), scores.data(), fresh);
  });
  if (failures == 0) std::puts("done");
  return failures;
}
