// Several models in one program; C++17. Prints "done" where each gives the same bits from any thread
// as from the main one.
#include "dense.h"
#include "mixing.h"
#include "several.h"

#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr std::int64_t kRows = 77;

template <typename T>
bool same(const std::vector<T> &a, const std::vector<T> &b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

struct results {
  std::vector<float> scores, y, mixed, total;
  std::vector<double> square;
  std::vector<tfaot_bool> positive;

  bool operator==(const results &o) const {
    return same(scores, o.scores) && same(y, o.y) && same(mixed, o.mixed) && same(total, o.total) &&
           same(square, o.square) && same(positive, o.positive);
  }
};

results evaluate() {
  const tfaot_model::dense dense;
  const tfaot_model::several several;
  const tfaot_model::mixing mixing;
  std::vector<float> features(kRows * 9), x(kRows * 5), rows(kRows * 6);
  std::vector<std::int32_t> ids(kRows);
  std::vector<double> d(kRows * 3);
  for (std::size_t i = 0; i < features.size(); ++i) features[i] = static_cast<float>(i % 13) - 6;
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) / 7;
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i % 5) / 50;
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i % 10);
  for (std::size_t i = 0; i < d.size(); ++i) d[i] = static_cast<double>(i % 3) - 1;
  results r;
  tfaot_model::dense::workspace workspace;
  dense.run_or_throw(kRows, features, r.scores, workspace);
  several.run_or_throw(kRows, x, ids, d, r.y, r.positive, r.square);
  mixing.run_or_throw(kRows, rows, r.mixed, r.total);
  return r;
}

}  // namespace

int main() {
  const results expected = evaluate();
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&wrong, &expected, t] {
      for (int i = 0; i < 20; ++i) wrong[t] += evaluate() == expected ? 0 : 1;
    });
  }
  for (std::thread &thread : threads) thread.join();
  for (int count : wrong) {
    if (count != 0) return 1;
  }
  float rounded = 0;
  for (float score : expected.scores) rounded += score;
  if (rounded < kRows - 0.01F || rounded > kRows + 0.01F) return 2;
  std::puts("done");
  return 0;
}
