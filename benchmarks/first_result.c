/*
 * A program that evaluates a model once and tells when: CLOCK_MONOTONIC in nanoseconds. Defined on
 * the command line: HEADER, the model's header, WORKSPACE, its function for the scratch memory, CALL,
 * its run function on p[0], p[1], ..., and SIZES, the bytes of each of those for one row.
 */
#define _GNU_SOURCE
#include HEADER

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const int64_t sizes[] = {SIZES};
enum { COUNT = sizeof sizes / sizeof sizes[0] };

int main(void) {
  const int64_t batch = 1;
  void *p[COUNT];
  void *workspace = aligned_alloc(64, (size_t)((int64_t)WORKSPACE(batch) + 127) / 64 * 64);
  struct timespec t;
  for (int i = 0; i < COUNT; ++i) p[i] = calloc((size_t)sizes[i] + 1, 1);
  if ((int)CALL != 0) return 1;
  clock_gettime(CLOCK_MONOTONIC, &t);
  printf("%" PRId64 "\n", (int64_t)t.tv_sec * 1000000000 + t.tv_nsec);
  return 0;
}
