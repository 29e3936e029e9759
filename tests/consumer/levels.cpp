/* Prints the instruction set in use and runs the model; exit code: what the run returned. */
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "dense.h"

int main(int argc, char **argv) {
  const tfaot_model::dense model;
  if (argc > 1) std::printf("limited to %d\n", model.set_max_isa(std::atoi(argv[1])));
  std::vector<float> features(3 * 9), scores;
  for (std::size_t i = 0; i < features.size(); ++i) features[i] = 0.25f * static_cast<float>(i);
  const int status = model.run(3, features, scores);
  std::printf("level %d, status %d\n", model.isa(), status);
  if (status != TFAOT_OK) {
    std::printf("%s\n", tfaot_status_string(status));
    return status;
  }
  for (const float score : scores) std::printf("%a ", static_cast<double>(score));
  std::printf("\n");
  return 0;
}
