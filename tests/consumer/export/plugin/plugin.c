/* A plugin with a model inside, which shows the host one function. */
#include "tfaot-model-dense/dense.h"

int evaluate(const float *features, float *scores);

int evaluate(const float *features, float *scores) {
  static _Alignas(64) unsigned char workspace[DENSE_WORKSPACE_BYTES + 64];
  return dense_run(2, features, scores, workspace);
}
