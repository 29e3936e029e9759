/*
 * Stands in for TensorFlow's header of this name where TensorFlow's is not installed: its names for
 * integers.
 */
#if defined(__GNUC__)
#pragma GCC system_header  // #include_next is an extension
#endif
#if defined(__has_include_next)
#if __has_include_next("tensorflow/core/platform/types.h")
#define TFAOT_HAS_NEXT_TYPES
#endif
#endif

#if defined(TFAOT_HAS_NEXT_TYPES)
#undef TFAOT_HAS_NEXT_TYPES
#include_next "tensorflow/core/platform/types.h"
#elif !defined(TENSORFLOW_CORE_PLATFORM_TYPES_H_)
#define TENSORFLOW_CORE_PLATFORM_TYPES_H_

#include <cstdint>
#include <string>

namespace tensorflow {
using std::string;
using int8 = std::int8_t;
using int16 = std::int16_t;
using int32 = std::int32_t;
using int64 = std::int64_t;
using uint8 = std::uint8_t;
using uint16 = std::uint16_t;
using uint32 = std::uint32_t;
using uint64 = std::uint64_t;
}  // namespace tensorflow

#endif  // TENSORFLOW_CORE_PLATFORM_TYPES_H_
