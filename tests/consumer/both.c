/* Two models in one C11 program, and two copies of one model under different names. */
#include "dense.h"
#include "dense_twin.h"
#include "several.h"

#include <stdio.h>
#include <string.h>

int main(void) {
  static _Alignas(64) unsigned char workspace[DENSE_WORKSPACE_BYTES + 64];
  float features[3 * 9], scores[3 * 3], others[3 * 3];
  for (int i = 0; i < 27; ++i) features[i] = (float)i / 9;
  if (dense_run(3, features, scores, workspace) != TFAOT_OK) return 1;
  if (dense_twin_run(3, features, others, workspace) != TFAOT_OK) return 2;
  if (memcmp(scores, others, sizeof scores) != 0) return 3;
  if (strcmp(dense_twin_info()->name, "dense_twin") != 0) return 4;
  if (several_info()->num_outputs != 3) return 5;
  puts("done");
  return 0;
}
