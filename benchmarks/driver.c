/*
 * Timing loop around one model, for the shared library that poster.py calls; those around the
 * machine's two ceilings are in limits.c. Defined on the command line: MODEL, the model's name,
 * and HEADER, its header.
 */
#define _GNU_SOURCE
#include HEADER

#include <stdint.h>
#include <time.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

/* CPU time of this thread, so that what else runs on the core does not count. */
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds per call of the model, over `calls` calls; negative where it refuses. */
double benchmark_model(int64_t batch, int64_t calls, const float *in, float *out, void *workspace) {
  double start;
  if (JOIN(MODEL, _run)(batch, in, out, workspace) != TFAOT_OK) return -1;
  start = now();
  for (int64_t i = 0; i < calls; ++i) JOIN(MODEL, _run)(batch, in, out, workspace);
  return (now() - start) / (double)calls;
}
