/*
 * Timing loops around one model and around the machine's two ceilings; a shared library that
 * poster.py calls. Defined on the command line: MODEL, the model's name, and HEADER, its header.
 */
#include HEADER

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

/* Made by ceilings.py. */
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

/* Seconds per call of the model, over `calls` calls; negative where it refuses. */
double benchmark_model(int64_t batch, int64_t calls, const float *in, float *out, void *workspace) {
  double start;
  if (JOIN(MODEL, _run)(batch, in, out, workspace) != TFAOT_OK) return -1;
  start = now();
  for (int64_t i = 0; i < calls; ++i) JOIN(MODEL, _run)(batch, in, out, workspace);
  return (now() - start) / (double)calls;
}

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
  return (now() - start) / (double)passes;
}
