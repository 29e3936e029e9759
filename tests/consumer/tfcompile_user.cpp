/*
 * A program written for tfcompile's classes. "program CLASS MODE" reads the arguments of one batch
 * from standard input, evaluates the model and writes the results to standard output.
 */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#define EIGEN_USE_THREADS
#define EIGEN_USE_CUSTOM_THREAD_POOL
#include "third_party/eigen3/unsupported/Eigen/CXX11/Tensor"

#include "dense_bs1.h"
#include "dense_bs3.h"
#include "mixing_bs2.h"
#include "several_bs1.h"
#include "several_bs2.h"
#include "several_bs4.h"
#include "fixed_bs1.h"
#include "stitched_bs2.h"
#include "stitched_bs5.h"
#include "tensorflow/core/platform/types.h"

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition);    \
      std::exit(1);                                                   \
    }                                                                 \
  } while (false)

using Function = tensorflow::XlaCompiledCpuFunction;
using Mode = Function::AllocMode;

static bool aligned(const void *data) { return reinterpret_cast<std::uintptr_t>(data) % 64 == 0; }

static void read(void *data, int bytes) {
  CHECK(std::fread(data, 1, static_cast<std::size_t>(bytes), stdin) ==
        static_cast<std::size_t>(bytes));
}

/* Through the base class, as code that serves any model does. */
static void evaluate(Function &model, const std::string &mode) {
  Eigen::ThreadPool pool(2);
  Eigen::ThreadPoolDevice device(&pool, pool.NumThreads());
  model.set_thread_pool(&device);
  CHECK(model.num_variables() == 0);
  CHECK(!model.hlo_profiling_enabled());
  CHECK(model.HasNameIndices());
  std::vector<std::vector<unsigned char>> own;
  for (int i = 0; i < model.num_args(); ++i) {
    const std::size_t index = static_cast<std::size_t>(i);
    CHECK(model.LookupArgIndex(model.GetArgName(i)) == i);
    if (mode == "own buffers") {
      CHECK(model.arg_data(index) == nullptr);
      CHECK(!model.Run());
      CHECK(!model.error_msg().empty());
      own.emplace_back(static_cast<std::size_t>(model.arg_size(i)));
      model.set_arg_data(index, own.back().data());
      CHECK(model.arg_data(index) == own.back().data());
    } else {
      CHECK(aligned(model.arg_data(index)));
    }
    read(model.arg_data(index), model.arg_size(i));
  }
  CHECK(model.Run());
  CHECK(model.error_msg().empty());
  for (int i = 0; i < model.num_results(); ++i) {
    CHECK(model.LookupResultIndex(model.GetResultName(i)) == i);
    const void *data = model.result_data(static_cast<std::size_t>(i));
    CHECK(aligned(data));
    std::fwrite(data, 1, static_cast<std::size_t>(model.result_size(i)), stdout);
  }
  CHECK(model.LookupArgIndex("no such name") == -1);
  CHECK(model.LookupResultIndex("") == -1);
  CHECK(model.GetArgName(-1) == nullptr && model.GetArgName(model.num_args()) == nullptr);
}

template <typename Class>
static void evaluate(const std::string &mode) {
  static_assert(Class::kNumVariables == 0, "");
  const auto model = std::make_unique<Class>(mode == "own buffers"
                                                 ? Mode::RESULTS_PROFILES_AND_TEMPS_ONLY
                                                 : Mode::ARGS_VARIABLES_RESULTS_PROFILES_AND_TEMPS);
  CHECK(model->num_args() == static_cast<int>(Class::kNumArgs));
  CHECK(model->num_results() == static_cast<int>(Class::kNumResults));
  for (int i = 0; i < model->num_args(); ++i) CHECK(Class::ArgSize(i) == model->arg_size(i));
  CHECK(&Class::StaticData() == &Class::StaticData());
  evaluate(*model, mode);
}

/* The accessors of one class, of every kind, against the C function itself. */
static void accessors() {
  constexpr int rows = 2;
  tfaot_model::several_bs2 model;
  const auto &constant = model;
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < 5; ++j) model.arg0(i, j) = static_cast<float>(i * 5 + j) * 0.25f;
    model.arg_feed_id(i, 0) = static_cast<tensorflow::int32>(i) + 3;
    for (std::size_t j = 0; j < 3; ++j) model.arg_d(i, j) = static_cast<double>(j) - 1.0;
  }
  CHECK(model.arg0_count() == 10 && model.arg0_size() == 40);
  CHECK(model.result1_count() == 6 && model.result1_size() == 6);
  CHECK(model.arg_feed_in_features_data() == model.arg0_data());
  CHECK(model.arg_in_features_data() == constant.arg0_data());
  CHECK(&constant.arg0(1, 2) == constant.arg0_data() + 7);
  CHECK(model.LookupArgIndex("feed_id") == 1 && model.LookupArgIndex(std::string("id")) == 1);
  CHECK(model.LookupResultIndex("fetch_square") == 2 && model.LookupResultIndex("square") == 2);
  CHECK(model.LookupVariableIndex("id") == -1 && model.ProgramShape() == nullptr);
  CHECK(model.Run());

  const auto bytes = static_cast<std::size_t>(several_workspace_bytes(rows));
  std::vector<unsigned char> memory(bytes + 64);
  unsigned char *workspace = memory.data();
  while (!aligned(workspace)) ++workspace;
  float y[rows * 7];
  tfaot_bool positive[rows * 3];
  double square[rows * 3];
  CHECK(several_run(rows, constant.arg0_data(), constant.arg1_data(), constant.arg2_data(), y,
                    positive, square, workspace) == 0);
  CHECK(std::memcmp(y, constant.result0_data(), sizeof y) == 0);
  CHECK(std::memcmp(positive, constant.result_fetch_positive_data(), sizeof positive) == 0);
  CHECK(std::memcmp(square, constant.result_square_data(), sizeof square) == 0);
  CHECK(std::memcmp(&constant.result2(1, 2), square + 5, sizeof(double)) == 0);
  const bool flag = constant.result1(0, 2);
  CHECK(flag == (positive[2] == 1));

  /* A second object has its own buffers, and may borrow the first one's. */
  tfaot_model::several_bs2 other(Mode::RESULTS_PROFILES_AND_TEMPS_ONLY);
  other.set_arg0_data(model.arg0_data());
  other.set_arg_feed_id_data(model.arg1_data());
  other.set_arg_d_data(model.arg2_data());
  CHECK(other.Run());
  CHECK(other.result0_data() != model.result0_data());
  CHECK(std::memcmp(other.result0_data(), y, sizeof y) == 0);

  tfaot_model::fixed_bs1 scalar;
  scalar.arg1() = 2.0f;
  CHECK(scalar.arg_scale_data()[0] == 2.0f && scalar.arg1_count() == 1);
}

int main(int count, char **arguments) {
  CHECK(count == 3);
  const std::string name = arguments[1], mode = arguments[2];
  if (name == "accessors") accessors();
  if (name == "dense_bs1") evaluate<tfaot_model::dense_bs1>(mode);
  if (name == "dense_bs3") evaluate<tfaot_model::dense_bs3>(mode);
  if (name == "several_bs1") evaluate<tfaot_model::several_bs1>(mode);
  if (name == "several_bs2") evaluate<tfaot_model::several_bs2>(mode);
  if (name == "several_bs4") evaluate<tfaot_model::several_bs4>(mode);
  if (name == "mixing_bs2") evaluate<tfaot_model::mixing_bs2>(mode);
  if (name == "fixed_bs1") evaluate<tfaot_model::fixed_bs1>(mode);
  if (name == "stitched_bs2") evaluate<tfaot_model::stitched_bs2>(mode);
  if (name == "stitched_bs5") evaluate<tfaot_model::stitched_bs5>(mode);
  return 0;
}
