/* The interface of this header in TensorFlow 2.7 to 2.12, as far as generated classes call it. */
#ifndef TENSORFLOW_COMPILER_TF2XLA_XLA_COMPILED_CPU_FUNCTION_H_
#define TENSORFLOW_COMPILER_TF2XLA_XLA_COMPILED_CPU_FUNCTION_H_
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

struct XlaCustomCallStatus_ { std::string message; };
typedef struct XlaCustomCallStatus_ XlaCustomCallStatus;
inline void XlaCustomCallStatusSetFailure(XlaCustomCallStatus *status, const char *text, size_t n) {
  status->message.assign(text, n);
}
namespace xla {
class ExecutableRunOptions {};
namespace cpu_function_runtime {
class BufferInfo {
 public:
  static BufferInfo MakeTempBuffer(uint64_t size) { return BufferInfo(size, false); }
  static BufferInfo MakeEntryParameter(uint64_t size, uint32_t) { return BufferInfo(size, true); }
  uint64_t size() const { return size_; }
  bool is_entry_parameter() const { return parameter_; }
 private:
  BufferInfo(uint64_t size, bool parameter) : size_(size), parameter_(parameter) {}
  uint64_t size_;
  bool parameter_;
};
}  // namespace cpu_function_runtime
}  // namespace xla
namespace tensorflow {
class XlaCompiledCpuFunction {
  using BufferInfo = xla::cpu_function_runtime::BufferInfo;
 public:
  using RawFunction = void (*)(void *result, const xla::ExecutableRunOptions *options,
                               const void **args, void **temps, XlaCustomCallStatus *status,
                               int64_t *counters);
  class StaticData {
    RawFunction raw = nullptr;
    const BufferInfo *infos = nullptr;
    size_t buffers = 0, result = 0;
    const int32_t *args = nullptr;
    int64_t num_args = 0, num_variables = 0;
    const char **arg_names = nullptr, **variable_names = nullptr, **result_names = nullptr;
    friend class XlaCompiledCpuFunction;
  };
  enum class AllocMode {
    ARGS_VARIABLES_RESULTS_PROFILES_AND_TEMPS,
    RESULTS_PROFILES_AND_TEMPS_ONLY
  };
  explicit XlaCompiledCpuFunction(const StaticData &data, AllocMode mode)
      : data_(data), table_(data.buffers) {
    const bool borrowed = mode == AllocMode::RESULTS_PROFILES_AND_TEMPS_ONLY;
    for (size_t i = 0; i < data.buffers; ++i) {
      if (data.infos[i].is_entry_parameter() && borrowed) continue;
      table_[i] = std::aligned_alloc(64, (data.infos[i].size() + 63) / 64 * 64 + 64);
      owned_.push_back(table_[i]);
    }
  }
  virtual ~XlaCompiledCpuFunction() { for (void *memory : owned_) std::free(memory); }
  bool Run() {
    XlaCustomCallStatus status;
    data_.raw(table_[data_.result], &options_, nullptr, table_.data(), &status, nullptr);
    return status.message.empty();
  }
  void *arg_data(size_t i) { return table_[data_.args[i]]; }
  const void *arg_data(size_t i) const { return table_[data_.args[i]]; }
  void set_arg_data(size_t i, const void *data) {
    table_[data_.args[i]] = const_cast<void *>(data);
  }
  void *result_data(size_t i) { return static_cast<void **>(table_[data_.result])[i]; }
  const void *result_data(size_t i) const { return static_cast<void **>(table_[data_.result])[i]; }
  int num_args() const { return int(data_.num_args); }
  int arg_size(int i) const { return int(data_.infos[data_.args[i]].size()); }
  int LookupArgIndex(const std::string &name) const { return find(data_.arg_names, name); }
  int LookupResultIndex(const std::string &name) const { return find(data_.result_names, name); }
 protected:
  static void set_static_data_raw_function(StaticData *d, RawFunction v) { d->raw = v; }
  static void set_static_data_buffer_infos(StaticData *d, const BufferInfo *v) { d->infos = v; }
  static void set_static_data_num_buffers(StaticData *d, size_t v) { d->buffers = v; }
  static void set_static_data_arg_index_table(StaticData *d, const int32_t *v) { d->args = v; }
  static void set_static_data_num_args(StaticData *d, int64_t v) { d->num_args = v; }
  static void set_static_data_num_variables(StaticData *d, int64_t v) { d->num_variables = v; }
  static void set_static_data_result_index(StaticData *d, size_t v) { d->result = v; }
  static void set_static_data_arg_names(StaticData *d, const char **v) { d->arg_names = v; }
  static void set_static_data_variable_names(StaticData *d, const char **v) {
    d->variable_names = v;
  }
  static void set_static_data_result_names(StaticData *d, const char **v) { d->result_names = v; }
 private:
  static int find(const char **names, const std::string &name) {
    for (int i = 0; names[i] != nullptr; ++i) if (name == names[i]) return i;
    return -1;
  }
  StaticData data_;
  xla::ExecutableRunOptions options_;
  std::vector<void *> table_, owned_;
};
}  // namespace tensorflow
#endif
