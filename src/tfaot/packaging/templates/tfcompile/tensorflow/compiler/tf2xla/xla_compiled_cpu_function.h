/*
 * Stands in for TensorFlow's header of this name, for models that tfaot compiled: the base of the
 * classes that tfcompile generates, without TensorFlow, XLA, Abseil or Eigen behind it. What
 * includes it needs no library.
 *
 * It has TensorFlow's include guard: in a file that includes both, the first one counts. A model's
 * header works with either.
 */
#ifndef TENSORFLOW_COMPILER_TF2XLA_XLA_COMPILED_CPU_FUNCTION_H_
#define TENSORFLOW_COMPILER_TF2XLA_XLA_COMPILED_CPU_FUNCTION_H_

/* More than is needed here: programs rely on what TensorFlow's header includes. */
#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace Eigen { struct ThreadPoolDevice; }
namespace xla {
class ExecutableRunOptions;
class HloProfilePrinterData;
class ProgramShapeProto;
}  // namespace xla

namespace tensorflow {
using int8 = std::int8_t;
using int16 = std::int16_t;
using int32 = std::int32_t;
using int64 = std::int64_t;
using uint8 = std::uint8_t;
using uint16 = std::uint16_t;
using uint32 = std::uint32_t;
using uint64 = std::uint64_t;

/* Under names of its own for the linker: TensorFlow may be in the same program. */
inline namespace tfaot_stand_in_v1 {

/*
 * A compiled model at one batch size, with the buffers of its arguments and results.
 *
 * Objects are independent of each other. One object serves one thread at a time.
 */
class XlaCompiledCpuFunction {
 public:
  struct ShapeInfo {
    const std::int32_t *dimensions = nullptr;
    std::int32_t num_dimensions = 0;
  };

  /* Bytes of a buffer, and whether AllocMode decides who allocates it. */
  class BufferInfo {
   public:
    static constexpr BufferInfo EntryParameter(std::size_t size, std::int32_t) noexcept {
      return BufferInfo(size, true);
    }
    static constexpr BufferInfo Result(std::size_t size, std::int32_t) noexcept {
      return BufferInfo(size, false);
    }
    static constexpr BufferInfo Temp(std::size_t size) noexcept {
      return BufferInfo(size, false);
    }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool is_entry_parameter() const noexcept { return is_entry_parameter_; }

   private:
    constexpr BufferInfo(std::size_t size, bool is_entry_parameter) noexcept
        : size_(size), is_entry_parameter_(is_entry_parameter) {}
    std::size_t size_;
    bool is_entry_parameter_;
  };

  /* What a generated class tells of its model; for this class alone to read. */
  class StaticData {
   public:
    bool has_thunk_sequence() const noexcept { return false; }

   private:
    friend class XlaCompiledCpuFunction;
    int (*run_)(void **buffers) = nullptr;
    const BufferInfo *buffer_infos_ = nullptr;
    std::size_t num_buffers_ = 0;
    const std::int32_t *arg_index_table_ = nullptr;
    const std::int32_t *result_index_table_ = nullptr;
    std::int64_t num_args_ = 0;
    std::int64_t num_results_ = 0;
    const char **arg_names_ = nullptr;
    const char **variable_names_ = nullptr;
    const char **result_names_ = nullptr;
  };

  enum class AllocMode {
    /* The object has buffers for arguments and results. */
    ARGS_VARIABLES_RESULTS_PROFILES_AND_TEMPS,
    /* The caller gives the arguments' buffers by set_arg_data before Run. */
    RESULTS_PROFILES_AND_TEMPS_ONLY,
  };

  explicit XlaCompiledCpuFunction(
      const StaticData &static_data,
      AllocMode alloc_mode = AllocMode::ARGS_VARIABLES_RESULTS_PROFILES_AND_TEMPS)
      : data_(static_data), buffer_table_(new void *[static_data.num_buffers_ + 1]()) {
    const bool with_args = alloc_mode == AllocMode::ARGS_VARIABLES_RESULTS_PROFILES_AND_TEMPS;
    std::size_t total = 0;
    for (std::size_t i = 0; i < data_.num_buffers_; ++i) total += room_for(i, with_args);
    if (total == 0) return;
    memory_.reset(::operator new(total, kAlignment));
    std::memset(memory_.get(), 0, total);
    char *place = static_cast<char *>(memory_.get());
    for (std::size_t i = 0; i < data_.num_buffers_; ++i) {
      const std::size_t room = room_for(i, with_args);
      if (room != 0) buffer_table_[i] = place;
      place += room;
    }
  }
  virtual ~XlaCompiledCpuFunction() = default;

  XlaCompiledCpuFunction(const XlaCompiledCpuFunction &) = delete;
  XlaCompiledCpuFunction &operator=(const XlaCompiledCpuFunction &) = delete;

  /* Without effect: a model runs on the thread that calls it. */
  virtual void set_thread_pool(const Eigen::ThreadPoolDevice *) {}

  /* Computes the results from the arguments; false, with an error_msg, where it can't. */
  virtual bool Run() {
    assert(data_.run_ != nullptr);
    const int status = data_.run_(buffer_table_.get());
    if (status == 0) {
      error_msg_.clear();
    } else if (status == kNullPointer) {
      error_msg_ = "an argument has no buffer: call set_arg_data before Run";
    } else {
      error_msg_ = "the model does not run at this batch size";
    }
    return status == 0;
  }

  std::string error_msg() const { return error_msg_; }
  template <typename Text>
  void set_error_msg(const Text &error_msg) {
    error_msg_ = std::string(error_msg);
  }

  void *arg_data(std::size_t index) { return buffer_table_[arg_place(index)]; }
  const void *arg_data(std::size_t index) const { return buffer_table_[arg_place(index)]; }
  void *result_data(std::size_t index) { return buffer_table_[result_place(index)]; }
  const void *result_data(std::size_t index) const { return buffer_table_[result_place(index)]; }

  /* An argument's buffer, aligned as its elements; it stays the caller's, and is only read. */
  void set_arg_data(std::size_t index, const void *data) {
    buffer_table_[arg_place(index)] = const_cast<void *>(data);
  }

  int num_args() const { return static_cast<int>(data_.num_args_); }
  int num_results() const { return static_cast<int>(data_.num_results_); }
  int num_variables() const { return 0; }

  /* Bytes. */
  int arg_size(int index) const {
    return static_cast<int>(data_.buffer_infos_[arg_place(static_cast<std::size_t>(index))].size());
  }
  int result_size(int index) const {
    return static_cast<int>(
        data_.buffer_infos_[result_place(static_cast<std::size_t>(index))].size());
  }

  bool HasNameIndices() const {
    return data_.arg_names_ != nullptr && data_.variable_names_ != nullptr &&
           data_.result_names_ != nullptr;
  }
  /* The index of a name, -1 where there is none. */
  int LookupArgIndex(const std::string &name) const { return find(data_.arg_names_, name); }
  int LookupVariableIndex(const std::string &) const { return -1; }
  int LookupResultIndex(const std::string &name) const { return find(data_.result_names_, name); }
  /* The name at an index, null where there is none. */
  const char *GetArgName(int index) const {
    return index < 0 || index >= num_args() ? nullptr : data_.arg_names_[index];
  }
  const char *GetVariableName(int) const { return nullptr; }
  const char *GetResultName(int index) const {
    return index < 0 || index >= num_results() ? nullptr : data_.result_names_[index];
  }

  /* What XLA knows beyond that is not there. */
  const xla::ProgramShapeProto *ProgramShape() const { return nullptr; }
  const xla::ExecutableRunOptions *run_options() const { return nullptr; }
  bool hlo_profiling_enabled() const { return false; }
  const xla::HloProfilePrinterData &hlo_profile_printer_data() const {
    assert(hlo_profiling_enabled());
    std::abort();
  }
  const std::int64_t *profile_counters() const { return nullptr; }

 protected:
  /* Where the generated class describes its model. */
  static void set_static_data_tfaot_run(StaticData *data, int (*run)(void **)) { data->run_ = run; }
  static void set_static_data_buffer_infos(StaticData *data, const BufferInfo *infos) {
    data->buffer_infos_ = infos;
  }
  static void set_static_data_num_buffers(StaticData *data, std::size_t count) {
    data->num_buffers_ = count;
  }
  static void set_static_data_arg_index_table(StaticData *data, const std::int32_t *table) {
    data->arg_index_table_ = table;
  }
  static void set_static_data_num_args(StaticData *data, std::int64_t count) {
    data->num_args_ = count;
  }
  static void set_static_data_num_variables(StaticData *, std::int64_t) {}
  static void set_static_data_result_index_table(StaticData *data, const std::int32_t *table) {
    data->result_index_table_ = table;
  }
  static void set_static_data_num_results(StaticData *data, std::int64_t count) {
    data->num_results_ = count;
  }
  static void set_static_data_arg_names(StaticData *data, const char **names) {
    data->arg_names_ = names;
  }
  static void set_static_data_variable_names(StaticData *data, const char **names) {
    data->variable_names_ = names;
  }
  static void set_static_data_result_names(StaticData *data, const char **names) {
    data->result_names_ = names;
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  static constexpr int kNullPointer = 2; /* TFAOT_NULL_POINTER */
  struct Free {
    void operator()(void *memory) const noexcept { ::operator delete(memory, kAlignment); }
  };

  /* Bytes set aside for a buffer: a multiple of 64, none where the caller gives it. */
  std::size_t room_for(std::size_t buffer, bool with_args) const {
    const BufferInfo &info = data_.buffer_infos_[buffer];
    if (info.is_entry_parameter() && !with_args) return 0;
    return info.size() == 0 ? 64 : (info.size() + 63) / 64 * 64;
  }
  std::size_t arg_place(std::size_t index) const {
    assert(index < static_cast<std::size_t>(data_.num_args_));
    return static_cast<std::size_t>(data_.arg_index_table_[index]);
  }
  std::size_t result_place(std::size_t index) const {
    assert(index < static_cast<std::size_t>(data_.num_results_));
    return static_cast<std::size_t>(data_.result_index_table_[index]);
  }
  static int find(const char **names, const std::string &name) {
    for (int i = 0; names != nullptr && names[i] != nullptr; ++i) {
      if (name == names[i]) return i;
    }
    return -1;
  }

  StaticData data_;
  std::unique_ptr<void *[]> buffer_table_;
  std::unique_ptr<void, Free> memory_;
  std::string error_msg_;
};

}  // namespace tfaot_stand_in_v1
}  // namespace tensorflow

#endif  // TENSORFLOW_COMPILER_TF2XLA_XLA_COMPILED_CPU_FUNCTION_H_
