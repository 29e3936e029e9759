/* Timing loops around the machine's two limits, whose code ceilings.py makes. */
#define _GNU_SOURCE
#include <stdint.h>
#include <time.h>

float ceiling_fma(int64_t iterations, float factor, float addend);
float ceiling_read(const void *bytes, int64_t count);

/* CPU time of this thread, so that what else runs on the core does not count. */
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Keeps results, so that nothing is optimised away. */
volatile float benchmark_sink;

/* Seconds per iteration of the chains of multiply-adds. */
double benchmark_fma(int64_t iterations) {
  const double start = now();
  benchmark_sink = ceiling_fma(iterations, 0.999f, 0.001f);
  return (now() - start) / (double)iterations;
}

/* Seconds per pass over `count` bytes, after a pass that brings them into the caches. */
double benchmark_read(const void *bytes, int64_t count, int64_t passes) {
  double start;
  benchmark_sink = ceiling_read(bytes, count);
  start = now();
  for (int64_t i = 0; i < passes; ++i) benchmark_sink = ceiling_read(bytes, count);
  return passes > 0 ? (now() - start) / (double)passes : 0;
}
