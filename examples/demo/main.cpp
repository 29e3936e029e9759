// Runs the compiled model: nothing is linked but poster.o.
//
// Usage: program FEATURES OUTPUTS BATCH...
// FEATURES holds rows of float32. For each batch size that many of them are evaluated, OUTPUTS
// receives the results one after the other, and a line is printed: batch, microseconds per call.
// The last line is the resident memory of the process in kilobytes.

#include "poster.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

namespace {

using poster = tfaot_model::poster;

std::vector<float> read_floats(const char *path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    std::cerr << "can't read " << path << '\n';
    std::exit(1);
  }
  std::vector<float> values(static_cast<std::size_t>(file.tellg()) / sizeof(float));
  file.seekg(0);
  file.read(reinterpret_cast<char *>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

// CPU time of a call, the fastest of many rounds: other programs on the machine count for little.
double microseconds_per_call(const poster &model, std::int64_t batch, const float *features,
                             float *probabilities, poster::workspace &workspace) {
  using clock = std::chrono::steady_clock;
  const int calls = batch < 64 ? 100 : 10;  // long enough for the clock
  double best = std::numeric_limits<double>::infinity();
  const clock::time_point end = clock::now() + std::chrono::milliseconds(300);
  do {
    const std::clock_t start = std::clock();
    for (int i = 0; i < calls; ++i) {
      model.run_or_throw(batch, features, probabilities, workspace);
    }
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    best = std::min(best, seconds * 1e6 / calls);
  } while (clock::now() < end);
  return best;
}

long resident_kilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::strtol(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 4) {
    std::cerr << "usage: program FEATURES OUTPUTS BATCH...\n";
    return 2;
  }
  const std::vector<float> features = read_floats(argv[1]);
  std::ofstream results(argv[2], std::ios::binary);
  const poster model;
  poster::workspace workspace;
  for (int i = 3; i < argc; ++i) {
    const std::int64_t batch = std::strtoll(argv[i], nullptr, 10);
    if (batch < 0 || static_cast<std::size_t>(poster::size_features(batch)) > features.size()) {
      std::cerr << "batch " << argv[i] << " has more rows than there are\n";
      return 2;
    }
    std::vector<float> probabilities(static_cast<std::size_t>(poster::size_output_0(batch)));
    const double time =
        microseconds_per_call(model, batch, features.data(), probabilities.data(), workspace);
    results.write(reinterpret_cast<const char *>(probabilities.data()),
                  static_cast<std::streamsize>(probabilities.size() * sizeof(float)));
    std::printf("%lld %.3f\n", static_cast<long long>(batch), time);
  }
  std::printf("%ld\n", resident_kilobytes());
  return results.good() ? 0 : 1;
}
