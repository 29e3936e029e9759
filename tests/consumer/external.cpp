// Weights that are replaced while threads run; C++17. Usage: external FIRST SECOND
// Every result is that of one file or of the other, never of both. Prints "done".
#include "dense.h"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr std::int64_t kRows = 40;
using model = tfaot_model::dense;

std::vector<float> evaluate(const std::vector<float> &in) {
  std::vector<float> out;
  static thread_local model::workspace workspace;
  if (model().run(kRows, in, out, workspace) != TFAOT_OK) out.clear();
  return out;
}

bool same(const std::vector<float> &a, const std::vector<float> &b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

int main(int count, char **arguments) {
  if (count != 3) return 2;
  std::vector<float> in(kRows * 9);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i % 13) - 6;
  if (!evaluate(in).empty()) return 3;
#if defined(__cpp_exceptions)
  try {
    std::vector<float> out;
    model().run_or_throw(kRows, in, out);
    return 4;
  } catch (const std::runtime_error &error) {
    if (std::strstr(error.what(), "no weights are attached") == nullptr) return 5;
  }
#endif
  std::vector<float> expected[2];
  for (int n : {1, 0}) {
    if (model::map_weights(arguments[1 + n]) != TFAOT_OK) return 6;
    expected[n] = evaluate(in);
  }
  if (same(expected[0], expected[1])) return 7;

  std::atomic<bool> stop{false};
  std::atomic<int> seen[2] = {{0}, {0}};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!stop) {
        const std::vector<float> out = evaluate(in);
        if (same(out, expected[0])) {
          ++seen[0];
        } else if (same(out, expected[1])) {
          ++seen[1];
        } else {
          ++wrong;
        }
      }
    });
  }
  for (int i = 0; i < 4000 && (i < 100 || seen[0] < 10 || seen[1] < 10); ++i) {
    if (model::map_weights(arguments[1 + (i + 1) % 2]) != TFAOT_OK) ++wrong;
    std::this_thread::yield();
  }
  stop = true;
  for (std::thread &thread : threads) thread.join();
#if defined(__cpp_lib_span)
  if (model::attach_weights(std::span<const std::byte>{}) == TFAOT_OK) return 8;
#endif
  if (model::weights_file_bytes != model::info().weights_file_bytes) return 9;
  if (wrong != 0 || seen[0] == 0 || seen[1] == 0) {
    std::fprintf(stderr, "%d wrong, %d and %d\n", wrong.load(), seen[0].load(), seen[1].load());
    return 10;
  }
  std::puts("done");
  return 0;
}
