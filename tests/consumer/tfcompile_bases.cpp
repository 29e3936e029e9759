/*
 * Runs classes in tfcompile's shape through their base class: the one that comes with the models,
 * or with -DTHEIRS the one that the include path has.
 */
#ifdef THEIRS
#include "tensorflow/compiler/tf2xla/xla_compiled_cpu_function.h"
#endif
#include "several_bs2.h"
#include "fixed_bs1.h"
#include "tensorflow/compiler/tf2xla/xla_compiled_cpu_function.h"
#include <cstring>

/* The stand-in is another class for the linker, and knows no raw functions or thunks. */
using Base = tensorflow::XlaCompiledCpuFunction;
template <typename B, typename = typename B::RawFunction>
constexpr bool has_raw_function(int) { return true; }
template <typename B>
constexpr bool has_raw_function(long) { return false; }
#ifdef THEIRS
static_assert(has_raw_function<Base>(0), "TensorFlow's");
#else
static_assert(!has_raw_function<Base>(0), "the one that comes with the model");
#endif

template <typename Class>
int check(Class &model, void **results, const int *bytes) {
  Base &base = model;
  if (!base.Run()) return 1;
  for (std::size_t i = 0; i < Class::kNumResults; ++i) {
    if (reinterpret_cast<std::uintptr_t>(base.result_data(i)) % 64 != 0) return 2;
    const std::size_t count = static_cast<std::size_t>(bytes[i]);
    if (std::memcmp(base.result_data(i), results[i], count) != 0) return 3;
  }
  return 0;
}

int main() {
  tfaot_model::several_bs2 model;
  for (std::size_t i = 0; i < 10; ++i) model.arg0_data()[i] = static_cast<float>(i) * 0.3f - 1.0f;
  for (std::size_t i = 0; i < 2; ++i) model.arg_feed_id(i, 0) = static_cast<int32_t>(i) + 4;
  for (std::size_t i = 0; i < 6; ++i) model.arg_d_data()[i] = static_cast<double>(i) - 2.5;
  alignas(64) static unsigned char workspace[1 << 16];
  if (several_workspace_bytes(2) > static_cast<std::int64_t>(sizeof workspace)) return 10;
  float y[14];
  tfaot_bool positive[6];
  double square[6];
  if (several_run(2, model.arg0_data(), model.arg1_data(), model.arg2_data(), y, positive, square,
                  workspace)) {
    return 11;
  }
  void *results[] = {y, positive, square};
  const int bytes[] = {sizeof y, sizeof positive, sizeof square};
  if (const int status = check(model, results, bytes)) return status;
  tfaot_model::several_bs2 borrowed(Base::AllocMode::RESULTS_PROFILES_AND_TEMPS_ONLY);
  if (borrowed.Run()) return 12;
  for (std::size_t i = 0; i < 3; ++i) borrowed.set_arg_data(i, model.arg_data(i));
  if (const int status = check(borrowed, results, bytes)) return 20 + status;
  if (model.num_args() != 3 || model.arg_size(2) != 48) return 13;
  if (model.LookupArgIndex("d") != 2 || model.LookupResultIndex("fetch_square") != 2) return 14;
  tfaot_model::fixed_bs1 other;
  if (!other.Run()) return 15;
  return 0;
}
