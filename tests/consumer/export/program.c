/* Two models in one C program; prints what they give for three rows. */
#include "dense.h"
#include "tfaot-model-several/several.h"

#include <stdio.h>

int main(void) {
  static _Alignas(64) unsigned char
      workspace[DENSE_WORKSPACE_BYTES + SEVERAL_WORKSPACE_BYTES + 64];
  float features[3 * 9], scores[3 * 3];
  for (int i = 0; i < 27; ++i) features[i] = (float)i / 9;
  if (dense_run(3, features, scores, workspace) != TFAOT_OK) return 1;
  for (int i = 0; i < 9; ++i) printf("%.9g\n", (double)scores[i]);

  const int32_t id[1] = {3};
  const double d[3] = {0.5, -1.0, 2.0};
  float y[7];
  tfaot_bool positive[3];
  double square[3];
  if (several_run(1, features, id, d, y, positive, square, workspace) != TFAOT_OK) return 2;
  for (int i = 0; i < 7; ++i) printf("%.9g\n", (double)y[i]);
  return 0;
}
