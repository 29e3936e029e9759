// Runs any compiled model that is in a shared library: nothing of the model is known when this is
// compiled. C++17; C would do as well.
//
// Usage: host LIBRARY MODEL [BATCH [LEVEL]]
//
// Prints what the model takes and gives, fills its inputs with numbers, runs it, and prints the
// first elements of each output. LEVEL limits the instruction set: 2, 3 or 4.

// The header of any model: what is used here are the types, which are the same in all.
#ifndef ANY_MODEL_HEADER
#define ANY_MODEL_HEADER "tagger.h"
#endif
#include ANY_MODEL_HEADER

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

struct library_closer {
  void operator()(void *library) const { dlclose(library); }
};

std::size_t element_bytes(int dtype) {
  switch (dtype) {
    case TFAOT_S16: case TFAOT_U16: case TFAOT_F16: case TFAOT_BF16: return 2;
    case TFAOT_S32: case TFAOT_U32: case TFAOT_F32: return 4;
    case TFAOT_S64: case TFAOT_U64: case TFAOT_F64: case TFAOT_C64: return 8;
    case TFAOT_C128: return 16;
    default: return 1;
  }
}

// The size of a dimension; a model for fixed batch sizes may list sizes that have no rule.
std::int64_t size_of(const tfaot_model_info &info, const tfaot_dim &dim, std::int64_t batch) {
  if (dim.scale != 0 || dim.offset >= 0) return dim.scale * batch + dim.offset;
  const std::int64_t *sizes = info.listed_sizes + (-1 - dim.offset) * info.num_batch_sizes;
  for (std::int64_t i = 0; i < info.num_batch_sizes; ++i) {
    if (info.batch_sizes[i] == batch) return sizes[i];
  }
  return 0;
}

// Memory for each tensor of a batch, and the pointers as the model takes them.
struct buffers {
  buffers(const tfaot_model_info &info, const tfaot_tensor_info *tensors, int count,
          std::int64_t batch) {
    for (int i = 0; i < count; ++i) {
      std::size_t elements = 1;
      std::string shape;
      for (int k = 0; k < tensors[i].rank; ++k) {
        const std::int64_t size = size_of(info, tensors[i].dims[k], batch);
        elements *= static_cast<std::size_t>(size);
        shape += "[" + std::to_string(size) + "]";
      }
      std::printf("  %s: type %d %s\n", tensors[i].name, tensors[i].dtype, shape.c_str());
      bytes.push_back(elements * element_bytes(tensors[i].dtype));
      // operator new aligns to any element type; one byte more, so that there is an address.
      memory.emplace_back(static_cast<unsigned char *>(::operator new(bytes.back() + 1)));
      std::memset(memory.back().get(), 0, bytes.back() + 1);
    }
  }
  struct deleter {
    void operator()(unsigned char *data) const { ::operator delete(data); }
  };
  std::vector<std::unique_ptr<unsigned char, deleter>> memory;
  std::vector<std::size_t> bytes;
};

void fill(unsigned char *data, std::size_t bytes, int dtype) {
  for (std::size_t i = 0; i < bytes / element_bytes(dtype); ++i) {
    const int number = static_cast<int>(i % 7);
    const float f32 = 0.25F * static_cast<float>(number);
    const double f64 = f32;
    if (dtype == TFAOT_F32) std::memcpy(data + 4 * i, &f32, 4);
    if (dtype == TFAOT_F64) std::memcpy(data + 8 * i, &f64, 8);
    if (dtype == TFAOT_S32) std::memcpy(data + 4 * i, &number, 4);
  }
}

void print_start(const char *name, const unsigned char *data, std::size_t bytes, int dtype) {
  std::printf("%s =", name);
  for (std::size_t i = 0; i < bytes / element_bytes(dtype) && i < 8; ++i) {
    float f32;
    double f64;
    if (dtype == TFAOT_F32) {
      std::memcpy(&f32, data + 4 * i, 4);
      std::printf(" %a", static_cast<double>(f32));
    } else if (dtype == TFAOT_F64) {
      std::memcpy(&f64, data + 8 * i, 8);
      std::printf(" %a", f64);
    } else {
      std::printf(" %d", data[i * element_bytes(dtype)]);
    }
  }
  std::printf("\n");
}

int fail(const std::string &message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return 1;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 3) return fail("usage: host LIBRARY MODEL [BATCH [LEVEL]]");
  const std::string symbol = std::string(argv[2]) + "_info";
  const std::int64_t batch = argc > 3 ? std::atoll(argv[3]) : 1;

  const std::unique_ptr<void, library_closer> library(dlopen(argv[1], RTLD_NOW | RTLD_LOCAL));
  if (library == nullptr) return fail(dlerror());
  using info_function = const tfaot_model_info *(*)();
  const auto get_info = reinterpret_cast<info_function>(dlsym(library.get(), symbol.c_str()));
  if (get_info == nullptr) return fail("no model '" + std::string(argv[2]) + "' in there");
  const tfaot_model_info &info = *get_info();
  // Structures grow at their end: a later version has all that this program knows.
  if (info.abi_version < 3 || info.struct_bytes < sizeof info) return fail("compiled too long ago");

  if (argc > 4 && info.set_max_isa != nullptr) {
    std::printf("level %d\n", info.set_max_isa(std::atoi(argv[4])));
  }
  std::printf("%s for %s\ninputs\n", info.name, info.target_cpu);
  const buffers in(info, info.inputs, info.num_inputs, batch);
  std::printf("outputs\n");
  const buffers out(info, info.outputs, info.num_outputs, batch);

  const std::int64_t bytes = info.workspace_bytes_for(batch);
  if (bytes < 0) return fail("the batch size is too large");
  const std::align_val_t alignment{static_cast<std::size_t>(info.workspace_alignment)};
  void *const workspace = ::operator new(static_cast<std::size_t>(bytes + 1), alignment);

  std::vector<const void *> inputs;
  std::vector<void *> outputs;
  for (std::size_t i = 0; i < in.memory.size(); ++i) {
    fill(in.memory[i].get(), in.bytes[i], info.inputs[i].dtype);
    inputs.push_back(in.memory[i].get());
  }
  for (const auto &memory : out.memory) outputs.push_back(memory.get());
  const int status = info.run(batch, inputs.data(), outputs.data(), workspace);
  ::operator delete(workspace, alignment);
  if (status != TFAOT_OK) return fail(tfaot_status_string(status));

  for (std::size_t i = 0; i < out.memory.size(); ++i) {
    print_start(info.outputs[i].name, out.memory[i].get(), out.bytes[i], info.outputs[i].dtype);
  }
  return 0;
}
