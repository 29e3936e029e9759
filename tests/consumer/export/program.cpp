// The same as program.c, through the generated classes.
#include "dense.h"
#include "tfaot-model-several/several.h"

#include <cstdint>
#include <cstdio>
#include <vector>

int main() {
  const tfaot_model::dense dense;
  tfaot_model::dense::workspace dense_workspace;
  std::vector<float> features(27), scores;
  for (int i = 0; i < 27; ++i) features[static_cast<std::size_t>(i)] = static_cast<float>(i) / 9;
  dense.run_or_throw(3, features, scores, dense_workspace);
  for (float score : scores) std::printf("%.9g\n", static_cast<double>(score));

  const tfaot_model::several several;
  tfaot_model::several::workspace several_workspace;
  features.resize(5);
  const std::vector<std::int32_t> id{3};
  const std::vector<double> d{0.5, -1.0, 2.0};
  std::vector<float> y;
  std::vector<tfaot_bool> positive;
  std::vector<double> square;
  several.run_or_throw(1, features, id, d, y, positive, square, several_workspace);
  for (float value : y) std::printf("%.9g\n", static_cast<double>(value));
  return 0;
}
