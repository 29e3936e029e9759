// Memory of compiled models in a C++ program: resident and private bytes per models and threads.
// Defined on the command line: MODELS, a list of M(name, inputs, outputs) with floats per row, and
// BATCH. Arguments: a stage and, in rising order, its numbers: "run" and "idle" of threads that
// evaluate all models or do nothing, "call" of calls of the first model.
// Prints one line per state: stage, models, threads, resident bytes, private bytes.
#include <algorithm>
#include <barrier>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include <sys/mman.h>

#include HEADERS

namespace {

struct Model {
  int (*run)(const float *, float *, void *);
  int64_t workspace, inputs, outputs;
};

#define M(name, inputs, outputs)                                                            \
  Model{[](const float *x, float *y, void *w) { return int(name##_run(BATCH, x, y, w)); }, \
        int64_t(name##_workspace_bytes(BATCH)), (inputs) * BATCH, (outputs) * BATCH},

void tell(const char *stage, int models, int threads) {
  std::FILE *file = std::fopen("/proc/self/smaps_rollup", "r");
  long resident = 0, privately = 0;
  char line[256];
  while (file != nullptr && std::fgets(line, sizeof line, file) != nullptr) {
    long kilobytes = 0;
    if (std::sscanf(line, "Rss: %ld", &kilobytes) == 1) resident = kilobytes;
    if (std::sscanf(line, "Private_Clean: %ld", &kilobytes) == 1 ||
        std::sscanf(line, "Private_Dirty: %ld", &kilobytes) == 1)
      privately += kilobytes;
  }
  if (file != nullptr) std::fclose(file);
  std::printf("%s %d %d %ld %ld\n", stage, models, threads, resident * 1024, privately * 1024);
}

// Whole pages, given back at the end: what a thread costs is not the allocator's to blur.
template <typename T>
class Pages {
 public:
  explicit Pages(int64_t count)
      : size_(size_t(count) * sizeof(T) + 1),
        place_(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (place_ == MAP_FAILED) std::abort();
  }
  Pages(const Pages &) = delete;
  Pages &operator=(const Pages &) = delete;
  ~Pages() { munmap(place_, size_); }
  T *data() { return static_cast<T *>(place_); }

 private:
  size_t size_;
  void *place_;
};

// Each thread evaluates every model with buffers of its own, and stays until all were counted.
void evaluate(const std::vector<Model> &models, std::barrier<> &together) {
  int64_t workspace = 0, inputs = 0, outputs = 0;
  for (const Model &m : models) {
    workspace = std::max(workspace, m.workspace);
    inputs = std::max(inputs, m.inputs);
    outputs = std::max(outputs, m.outputs);
  }
  Pages<unsigned char> scratch(workspace);
  Pages<float> x(inputs), y(outputs);
  std::fill_n(x.data(), inputs, 0.5f);
  for (const Model &m : models)
    if (m.run(x.data(), y.data(), scratch.data()) != 0) std::abort();
  together.arrive_and_wait();
  together.arrive_and_wait();
}

// Threads that run or idle. A process has threads of one kind only: an ended thread's stack stays
// resident for the next, and weights once read stay too.
void count(const char *stage, const std::vector<Model> &models, int threads) {
  const bool idle = std::strcmp(stage, "idle") == 0;
  std::barrier together(threads + 1);
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([&] {
      if (!idle) return evaluate(models, together);
      together.arrive_and_wait();
      together.arrive_and_wait();
    });
  }
  together.arrive_and_wait();
  tell(stage, int(models.size()), threads);
  together.arrive_and_wait();
  for (std::thread &thread : pool) thread.join();
}

// Many calls of one model, which must not make the process grow.
void call(const Model &m, int calls) {
  Pages<unsigned char> scratch(m.workspace);
  Pages<float> x(m.inputs), y(m.outputs);
  std::fill_n(x.data(), m.inputs, 0.5f);
  if (m.run(x.data(), y.data(), scratch.data()) != 0) std::abort();
  tell("before", 1, 1);
  for (int i = 0; i < calls; ++i) m.run(x.data(), y.data(), scratch.data());
  tell("after", 1, 1);
}

}  // namespace

int main(int argc, char **argv) {
  tell("start", 0, 0);
  const std::vector<Model> models{MODELS};
  tell("load", int(models.size()), 0);
  if (argc < 2) return 2;
  for (int i = 2; i < argc; ++i) {
    const int number = std::atoi(argv[i]);
    if (std::strcmp(argv[1], "call") == 0)
      call(models.front(), number);
    else
      count(argv[1], models, number);
  }
}
