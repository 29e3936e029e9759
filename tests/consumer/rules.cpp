/* Batch rules from C++: what `add` takes, and that a rule leaves the rows as they are. */
#include <cstdio>
#include <cstring>
#include <vector>

#include "dense.h"
#include "stitched.h"

int failures = 0;
#define CHECK(condition) \
  if (!(condition)) ++failures, std::printf("line %d: %s\n", __LINE__, #condition)

template <typename Model>
void check_rows(const Model &model, std::int64_t batch, const char *text, int width, int outputs) {
  typename Model::batch_rules rules;
  CHECK(rules.add(text) == TFAOT_OK);
  std::vector<float> in(static_cast<std::size_t>(batch * width)), plain, ruled;
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = 0.125f * static_cast<float>(i % 37) - 1;
  CHECK(model.run(batch, in, plain) == TFAOT_OK);
  ruled.resize(static_cast<std::size_t>(batch * outputs));
  typename Model::workspace memory(batch);
  CHECK(model.run(batch, in.data(), ruled.data(), memory.data(), rules) == TFAOT_OK);
  CHECK(std::memcmp(plain.data(), ruled.data(), ruled.size() * sizeof(float)) == 0);
}

int main() {
  const tfaot_model::stitched stitched;
  check_rows(stitched, 3, "3:2,2", 4, 2);
  check_rows(stitched, 3, "3:5", 4, 2);
  check_rows(stitched, 11, "4:5 11:2,2,2,5 7:5,2", 4, 2);
  check_rows(stitched, 6, "7:5,2", 4, 2); /* no rule for 6 */
  check_rows(stitched, 0, "7:5,2", 4, 2);
  const tfaot_model::dense dense; /* takes any size: rules change nothing */
  check_rows(dense, 5, "5:2,4", 9, 3);

  tfaot_model::stitched::batch_rules rules;
  for (const char *wrong : {"5", "5:", ":2", "5:2,", "5:2;4", "5:2,2", "4:2,2,2", "5:0,5", "5:-5",
                            "5:2,4x", "99999999999:5", "3:2,2 5:"}) {
    CHECK(rules.add(wrong) == TFAOT_WRONG_PARTS);
  }
  std::int64_t count = 7;
  CHECK(rules.find(3, &count) == nullptr && count == 0);
  CHECK(rules.add("3:2,2") == TFAOT_OK && rules.add(" 3:5\n4:5 ") == TFAOT_OK);
  const std::int64_t *parts = rules.find(3, &count); /* the newest */
  CHECK(parts != nullptr && count == 1 && parts[0] == 5);

  /* A size that the model is not compiled for comes to light in the run. */
  CHECK(rules.add("6:3,3") == TFAOT_OK);
  std::vector<float> in(24), out(12, 7.0f);
  tfaot_model::stitched::workspace memory(6);
  CHECK(stitched.run(6, in.data(), out.data(), memory.data(), rules) == TFAOT_WRONG_PARTS);
  for (const float value : out) CHECK(value == 7.0f);
  std::puts(failures ? "failed" : "done");
  return failures;
}
