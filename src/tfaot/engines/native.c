/*
 * Timing loops around one compiled model, in a shared library that native.py calls. Defined on the
 * command line: HEADER, the model's header, WORKSPACE, its function for the scratch memory, CALL, its
 * run function on `p[0]`, `p[1]`, ..., and MAP_WEIGHTS, its function that takes weights from a file,
 * where they are outside.
 */
#define _GNU_SOURCE
#include HEADER

#include <stdint.h>
#include <time.h>

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Bytes of scratch memory. */
int64_t native_workspace(int64_t batch) { return (int64_t)WORKSPACE(batch); }

#ifdef MAP_WEIGHTS
/* Take the weights from a file, which stays mapped; the status. */
int native_weights(const char *path) { return (int)MAP_WEIGHTS(path); }
#endif

/* One call; its status. */
int native_call(int64_t batch, void *const *p, void *workspace) { return (int)CALL; }

/* CPU seconds of `calls` calls, negative where the model refuses. */
double native_loop(int64_t batch, void *const *p, void *workspace, int64_t calls) {
  const double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
  for (int64_t i = 0; i < calls; ++i) {
    if (CALL != 0) return -1;
  }
  return seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
}

/* Wall-clock seconds of one call. */
double native_once(int64_t batch, void *const *p, void *workspace) {
  const double start = seconds(CLOCK_MONOTONIC);
  if (CALL != 0) return -1;
  return seconds(CLOCK_MONOTONIC) - start;
}
