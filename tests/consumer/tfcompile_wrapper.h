/*
 * The interface of a framework that serves one model by classes of several batch sizes, in the
 * manner of CMS software: a base class with counts, from which a generated wrapper is derived, and
 * a template that composes a batch of the sizes there are.
 */
#pragma once

#include <map>

#include "tensorflow/compiler/tf2xla/xla_compiled_cpu_function.h"
#include "tensorflow/core/platform/types.h"
#include "third_party/eigen3/unsupported/Eigen/CXX11/Tensor"

namespace framework {

using AllocMode = tensorflow::XlaCompiledCpuFunction::AllocMode;
using Counts = std::vector<std::size_t>;

class Wrapper {
 public:
  virtual ~Wrapper() = default;
  AllocMode allocMode() const { return allocMode_; }
  virtual const Counts &argCounts() const = 0;    /* elements of a row */
  virtual const Counts &resultCounts() const = 0; /* elements of a row */
  virtual bool run(std::size_t batch) = 0;

 private:
  AllocMode allocMode_ = AllocMode::ARGS_VARIABLES_RESULTS_PROFILES_AND_TEMPS;
};

/* Evaluates rows by a rule: sizes of which the last may reach beyond the rows. */
template <typename W, typename... Outputs, typename... Inputs>
std::tuple<std::vector<std::vector<Outputs>>...> evaluate(
    W &wrapper, const Counts &rule, std::size_t rows,
    const std::vector<std::vector<Inputs>> &...inputs) {
  std::tuple<std::vector<std::vector<Outputs>>...> outputs;
  std::size_t done = 0;
  for (const std::size_t size : rule) {
    const std::size_t here = std::min(size, rows - done);
    for (std::size_t row = 0; row < here; ++row) {
      std::size_t index = 0;
      const auto inject = [&](const auto &values) {
        using T = typename std::decay_t<decltype(values)>::value_type;
        T *data = wrapper.template argData<T>(size, index);
        const std::size_t count = wrapper.argCounts()[index++];
        std::copy(values.begin(), values.end(), data + row * count);
      };
      (inject(inputs[done + row]), ...);
    }
    if (!wrapper.run(size)) return {};
    for (std::size_t row = 0; row < here; ++row) {
      std::size_t index = 0;
      const auto extract = [&](auto &rows_out) {
        using T = typename std::decay_t<decltype(rows_out)>::value_type::value_type;
        const W &constant = wrapper;
        const T *data = constant.template resultData<T>(size, index);
        const std::size_t count = wrapper.resultCounts()[index++];
        rows_out.emplace_back(data + row * count, data + (row + 1) * count);
      };
      std::apply([&](auto &...all) { (extract(all), ...); }, outputs);
    }
    done += here;
  }
  return outputs;
}

}  // namespace framework
