#ifndef TFAOT_TFCOMPILE_DESCRIPTION_DEFINED
#define TFAOT_TFCOMPILE_DESCRIPTION_DEFINED
namespace tfaot_detail
{

/* A number for each kind of base class. */
struct tfcompile_raw {
  static constexpr int base = 1; /* TensorFlow 2.7 to 2.18: a raw function and a result tuple */
};
struct tfcompile_thunks : tfcompile_raw {
  static constexpr int base = 2; /* later TensorFlow */
};
struct tfcompile_stand_in : tfcompile_thunks {
  static constexpr int base = 3; /* the header that comes with the model */
};

/*
 * Describes a model to the base class, whichever it is, through its protected functions; derived
 * from it for their sake alone. Run takes arguments, results and scratch memory, in this order.
 */
template <typename Base, std::size_t Args, std::size_t Results, int (*Run)(void **)>
struct tfcompile_description : Base {
  using Data = typename Base::StaticData;
  static constexpr int (*run)(void **) = Run;

  /* The setters that only some versions have. */
#define TFAOT_OPTIONAL(setter)                                                          \
  template <typename B, typename Value>                                                 \
  static auto set_##setter(Data *data, Value value, int)                                      \
      -> decltype(B::set_static_data_##setter(data, value)) {                           \
    B::set_static_data_##setter(data, value);                                           \
  }                                                                                     \
  template <typename B, typename Value>                                                 \
  static void set_##setter(Data *, Value, long) {}
  TFAOT_OPTIONAL(result_index_table)
  TFAOT_OPTIONAL(num_results)
  TFAOT_OPTIONAL(result_index)
#undef TFAOT_OPTIONAL

  /* How the base class calls the model; the value is its kind. */
  template <typename B>
  static auto set_run(Data *data, tfcompile_stand_in)
      -> decltype(B::set_static_data_tfaot_run(data, nullptr), tfcompile_stand_in()) {
    B::set_static_data_tfaot_run(data, run);
    return {};
  }
  template <typename B>
  static auto set_run(Data *data, tfcompile_thunks)
      -> decltype(B::set_static_data_thunk_run_impl(data, nullptr), tfcompile_thunks()) {
    B::set_static_data_thunk_run_impl(data, [](void **buffers, auto &&...) {
      return run(buffers) == 0;
    });
    return {};
  }
  template <typename B>
  static auto set_run(Data *data, tfcompile_raw)
      -> decltype(B::set_static_data_raw_function(data, nullptr), tfcompile_raw()) {
    B::set_static_data_raw_function(
        data, [](void *results, const auto *, const void **, void **buffers, auto... report) {
          for (std::size_t i = 0; i < Results; ++i) {
            static_cast<void **>(results)[i] = buffers[Args + i];
          }
          if (run(buffers) != 0) fail(report...);
        });
    return {};
  }
  template <typename Status, typename Counter>
  static void fail(Status *status, Counter *) {
    static const char text[] = "an argument has no buffer, or the batch size does not fit";
    XlaCustomCallStatusSetFailure(status, text, sizeof text - 1);
  }

  static constexpr int base() {
    return decltype(set_run<Base>(nullptr, tfcompile_stand_in()))::base;
  }

  /* Stops a program in which files that include TensorFlow's header share a class with files that
   * include the one that comes with the model: the two have different layouts. */
  static void check(int base_of_class) {
    if (base_of_class == base()) return;
    std::fputs("some files of this program include TensorFlow's xla_compiled_cpu_function.h before "
               "the header of a model that tfaot compiled, and some don't: include it in all\n",
               stderr);
    std::abort();
  }

  /* Buffers under the names that they have in this version. */
  template <typename Info>
  static auto argument(std::int64_t bytes, std::size_t i, int)
      -> decltype(Info::EntryParameter(1, 1)) {
    return Info::EntryParameter(static_cast<std::uint64_t>(bytes), static_cast<std::int32_t>(i));
  }
  template <typename Info>
  static auto argument(std::int64_t bytes, std::size_t i, long)
      -> decltype(Info::MakeEntryParameter(1, 1)) {
    return Info::MakeEntryParameter(static_cast<std::uint64_t>(bytes), static_cast<std::uint32_t>(i));
  }
  template <typename Info>
  static auto result(std::int64_t bytes, std::size_t i, int) -> decltype(Info::Result(1, 1)) {
    return Info::Result(static_cast<std::uint64_t>(bytes), static_cast<std::int32_t>(i));
  }
  template <typename Info>
  static auto result(std::int64_t bytes, std::size_t, long) -> decltype(Info::MakeTempBuffer(1)) {
    return Info::MakeTempBuffer(static_cast<std::uint64_t>(bytes));
  }
  template <typename Info>
  static auto temporary(std::int64_t bytes, int) -> decltype(Info::Temp(1)) {
    return Info::Temp(static_cast<std::uint64_t>(bytes));
  }
  template <typename Info>
  static auto temporary(std::int64_t bytes, long) -> decltype(Info::MakeTempBuffer(1)) {
    return Info::MakeTempBuffer(static_cast<std::uint64_t>(bytes));
  }
  template <typename Info>
  static Info info_of(void (*)(Data *, const Info *));

  /* The description, made once and never destroyed. */
  static const Data &get(const std::int64_t *arg_bytes, const std::int64_t *result_bytes,
                         std::int64_t workspace_bytes, const char **arg_names,
                         const char **variable_names, const char **result_names) {
    alignas(Data) static unsigned char memory[sizeof(Data)];
    static const Data *const made = fill<Base>(new (memory) Data, arg_bytes, result_bytes,
                                               workspace_bytes, arg_names, variable_names,
                                               result_names);
    return *made;
  }

  template <typename B>
  static const Data *fill(Data *data, const std::int64_t *arg_bytes,
                          const std::int64_t *result_bytes, std::int64_t workspace_bytes,
                          const char **arg_names, const char **variable_names,
                          const char **result_names) {
    using Info = decltype(info_of(&B::set_static_data_buffer_infos));
    /* Arguments, results, scratch memory, and the tuple of results where there is one. */
    constexpr std::size_t count = Args + Results + 2;
    constexpr std::int64_t tuple_bytes = static_cast<std::int64_t>(sizeof(void *) * Results);
    alignas(Info) static unsigned char memory[count * sizeof(Info)];
    static std::int32_t places[count];
    for (std::size_t i = 0; i < count; ++i) {
      void *const info = memory + i * sizeof(Info);
      places[i] = static_cast<std::int32_t>(i);
      if (i < Args) {
        new (info) Info(argument<Info>(arg_bytes[i], i, 0));
      } else if (i < Args + Results) {
        new (info) Info(result<Info>(result_bytes[i - Args], i - Args, 0));
      } else if (i == Args + Results) {
        new (info) Info(temporary<Info>(workspace_bytes > 64 ? workspace_bytes : 64, 0));
      } else {
        new (info) Info(temporary<Info>(tuple_bytes, 0));
      }
    }
    set_run<B>(data, tfcompile_stand_in());
    B::set_static_data_buffer_infos(data, reinterpret_cast<const Info *>(memory));
    B::set_static_data_num_buffers(data, base() == tfcompile_raw::base ? count : count - 1);
    B::set_static_data_arg_index_table(data, places);
    B::set_static_data_num_args(data, static_cast<std::int64_t>(Args));
    B::set_static_data_num_variables(data, 0);
    B::set_static_data_arg_names(data, arg_names);
    B::set_static_data_result_names(data, result_names);
    B::set_static_data_variable_names(data, variable_names);
    set_result_index_table<B>(data, places + Args, 0);
    set_num_results<B>(data, static_cast<std::int64_t>(Results), 0);
    set_result_index<B>(data, count - 1, 0);
    return data;
  }
};

}  // namespace tfaot_detail
#endif
