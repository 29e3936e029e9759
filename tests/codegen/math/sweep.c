/* Errors of compiled float32 functions over ranges of bit patterns, against the C library's
   doubles.

   sweep.py builds this as a shared library and calls it. Arguments are taken in blocks, so that
   the reference, which takes most of the time, is computed once for all kernels and stays in the
   cache. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "sweep_random.h"

enum { ROUND_UP = 64 };

/* What sweep.py reads; the same fields in the same order. */
typedef struct {
  double ulp;
  double worst_exact;
  float worst_argument[2];
  float worst_got;
  float differs_argument[2];
  float sign_argument[2];
  uint64_t differs;
  uint64_t wrong_sign;
} finding;

typedef void unary_code(int64_t count, float *result, const float *x);
typedef void binary_code(int64_t count, float *result, const float *x, const float *y);

/* `same_as` is an earlier kernel that must give the same bits, or -1. */
typedef struct {
  union {
    unary_code *unary;
    binary_code *binary;
  } code;
  int64_t same_as;
} kernel;

static double logistic(double x) { return 1.0 / (1.0 + exp(-x)); }
static double rsqrt(double x) { return 1.0 / sqrt(x); }

typedef double unary_reference(double);
typedef double binary_reference(double, double);

static const struct {
  const char *name;
  unary_reference *function;
} unary_references[] = {
    {"cbrt", cbrt},
    {"cosine", cos},
    {"erf", erf},
    {"exponential", exp},
    {"exponential-minus-one", expm1},
    {"log", log},
    {"log-plus-one", log1p},
    {"logistic", logistic},
    {"rsqrt", rsqrt},
    {"sine", sin},
    {"sqrt", sqrt},
    {"tan", tan},
    {"tanh", tanh},
};

static const struct {
  const char *name;
  binary_reference *function;
} binary_references[] = {{"atan2", atan2}, {"power", pow}, {"remainder", fmod}};

static unary_reference *find_unary(const char *name) {
  for (size_t i = 0; i < sizeof unary_references / sizeof *unary_references; i++)
    if (!strcmp(name, unary_references[i].name)) return unary_references[i].function;
  return NULL;
}

static binary_reference *find_binary(const char *name) {
  for (size_t i = 0; i < sizeof binary_references / sizeof *binary_references; i++)
    if (!strcmp(name, binary_references[i].name)) return binary_references[i].function;
  return NULL;
}

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* ULPs of float32 between a result and the exact value, as `ulp_errors32` in measure.py: an
   infinity counts as 2^128, two NaNs agree, and one alone is infinitely wrong. */
void sweep_errors(int64_t count, const float *got, const double *exact, double *error) {
  const double limit = 0x1p128;
  for (int64_t i = 0; i < count; i++) {
    double g = got[i], e = exact[i];
    const int both_nan = (g != g) & (e != e);
    g = g > limit ? limit : g;
    g = g < -limit ? -limit : g;
    e = e > limit ? limit : e;
    e = e < -limit ? -limit : e;
    uint64_t bits;
    memcpy(&bits, &e, sizeof bits);
    int64_t exponent = (int64_t)(bits >> 52 & 0x7FF);
    exponent = exponent < 1023 - 126 ? 1023 - 126 : exponent;
    exponent = exponent > 1023 + 127 ? 1023 + 127 : exponent;
    bits = (uint64_t)(2 * 1023 + 23 - exponent) << 52;
    double per_ulp;
    memcpy(&per_ulp, &bits, sizeof per_ulp);
    const double ulp = fabs(g - e) * per_ulp;
    error[i] = both_nan ? 0.0 : ulp == ulp ? ulp : INFINITY;
  }
}

/* The largest of numbers that are not negative: their bits are ordered as they are. */
static double largest(int64_t count, const double *error) {
  int64_t most = 0;
  for (int64_t i = 0; i < count; i++) {
    int64_t bits;
    memcpy(&bits, &error[i], sizeof bits);
    most = bits > most ? bits : most;
  }
  double result;
  memcpy(&result, &most, sizeof result);
  return result;
}

static int differ(float a, float b) {
  return (bits_of(a) != bits_of(b)) & !((a != a) & (b != b));
}

static int wrong_sign(double got, double exact) {
  return (copysign(1.0, got) != copysign(1.0, exact)) & (got == got) & (exact == exact);
}

static void judge(int64_t count, const float *x, const float *y, const float *got,
                  const double *exact, const float *other, finding *found) {
  static _Thread_local double error[BLOCK];
  sweep_errors(count, got, exact, error);
  const double most = largest(count, error);
  if (most > found->ulp) {
    int64_t i = 0;
    while (error[i] != most) i++;
    found->ulp = most;
    found->worst_argument[0] = x[i];
    found->worst_argument[1] = y[i];
    found->worst_got = got[i];
    found->worst_exact = exact[i];
  }
  uint64_t signs = 0;
  uint32_t differing = 0;
  for (int64_t i = 0; i < count; i++) signs += (uint64_t)wrong_sign(got[i], exact[i]);
  if (other)
    for (int64_t i = 0; i < count; i++) differing += (uint32_t)differ(got[i], other[i]);
  if (differing && !found->differs) {
    int64_t i = 0;
    while (!differ(got[i], other[i])) i++;
    found->differs_argument[0] = x[i];
    found->differs_argument[1] = y[i];
  }
  if (signs && !found->wrong_sign) {
    int64_t i = 0;
    while (!wrong_sign(got[i], exact[i])) i++;
    found->sign_argument[0] = x[i];
    found->sign_argument[1] = y[i];
  }
  found->differs += differing;
  found->wrong_sign += signs;
}

/* Runs all kernels on one block; `count` is a multiple of ROUND_UP, `used` of them are judged. */
static void try_block(int64_t count, int64_t used, const float *x, const float *y, int binary,
                      const double *exact, int64_t kernels, const kernel *kernel_list,
                      finding *found) {
  static _Thread_local float result[KERNELS][BLOCK];
  for (int64_t k = 0; k < kernels; k++) {
    const kernel *this = &kernel_list[k];
    if (binary)
      this->code.binary(count, result[k], x, y);
    else
      this->code.unary(count, result[k], x);
    const float *other = this->same_as < 0 ? NULL : result[this->same_as];
    judge(used, x, y, result[k], exact, other, &found[k]);
  }
}

/* Every bit pattern from `first` on. Returns whether there is such a reference. */
int sweep_unary(const char *name, uint64_t first, uint64_t count, int64_t kernels,
                const kernel *kernel_list, finding *found) {
  static _Thread_local float x[BLOCK];
  static _Thread_local double exact[BLOCK];
  unary_reference *reference = find_unary(name);
  if (!reference || kernels > KERNELS) return 0;
  for (uint64_t start = 0; start < count; start += BLOCK) {
    const int64_t used = count - start < BLOCK ? (int64_t)(count - start) : BLOCK;
    const int64_t padded = (used + ROUND_UP - 1) / ROUND_UP * ROUND_UP;
    for (int64_t i = 0; i < padded; i++)
      x[i] = float_of((uint32_t)(first + start + (uint64_t)(i < used ? i : 0)));
    for (int64_t i = 0; i < used; i++) exact[i] = reference((double)x[i]);
    try_block(padded, used, x, x, 0, exact, kernels, kernel_list, found);
  }
  return 1;
}

static const float special[] = {
    0.0f, 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 10.0f, 0.5f, 1.5f, 2.5f, 0.25f, 0x1p-126f, 0x1p-149f,
    0x1.fffffcp-127f, 0x1.fffffep127f, 0x1.000002p0f, 0x1.fffffep-1f, 0x1p23f, 0x1p24f,
    0x1.fffffep23f, 0x1p25f, INFINITY, NAN,
};
enum { SPECIALS = sizeof special / sizeof *special };

static float special_of(uint64_t random) {
  const float x = special[(random >> 1) % SPECIALS];
  return random & 1 ? -x : x;
}

/* A float of random sign and mantissa, with an exponent in [low, low + span). */
static float spread(uint64_t random, int low, int span) {
  const uint32_t exponent = (uint32_t)(127 + low) + (uint32_t)(random >> 40) % (uint32_t)span;
  return float_of((uint32_t)(random & 0x807FFFFF) | exponent << 23);
}

/* Pairs of four kinds, block by block, each with special values among them. */
static void make_pairs(binary_reference *reference, uint64_t block, float *x, float *y) {
  for (uint64_t i = 0; i < BLOCK; i++) {
    const uint64_t position = (block * BLOCK + i) * 3 + 1;
    const uint64_t a = random_at(position), b = random_at(position + 1);
    const double unit = (double)(random_at(position + 2) >> 11) * 0x1p-53;
    switch (block % 4) {
      case 0: /* any bit patterns */
        x[i] = float_of((uint32_t)a);
        y[i] = float_of((uint32_t)b);
        break;
      case 1: /* ordinary numbers */
        x[i] = spread(a, -12, 24);
        y[i] = spread(b, -12, 24);
        break;
      case 2: /* of all sizes, near each other; powers that neither overflow nor vanish */
        x[i] = spread(a, -126, 254);
        if (reference == pow) {
          x[i] = fabsf(x[i]);
          y[i] = (float)((unit * 284.0 - 152.0) / log2((double)x[i]));
        } else {
          y[i] = (float)((double)x[i] * (double)spread(b, -30, 60));
        }
        break;
      default: /* bases near 1; multiples of the divisor, more or less; angles near the diagonals */
        if (reference == pow) {
          x[i] = 1.0f + spread(a, -23, 22);
          y[i] = (float)((unit * 284.0 - 152.0) / log2((double)x[i]));
        } else if (reference == fmod) {
          y[i] = spread(b, -40, 80);
          const double beside = (double)((int)(a % 3) - 1) * 0x1p-40;
          x[i] = (float)((double)y[i] * floor(unit * 0x1p12) + beside);
        } else {
          x[i] = spread(a, -2, 4);
          y[i] = spread(b, -2, 4);
        }
    }
    if (i % 32 == 5 || i % 32 == 21) x[i] = special_of(a >> 8);
    if (i % 32 == 13 || i % 32 == 21) y[i] = special_of(b >> 8);
  }
}

/* Random pairs: `blocks` blocks of 4096 from number `first` on. */
int sweep_binary(const char *name, uint64_t first, uint64_t blocks, int64_t kernels,
                 const kernel *kernel_list, finding *found) {
  static _Thread_local float x[BLOCK], y[BLOCK];
  static _Thread_local double exact[BLOCK];
  binary_reference *reference = find_binary(name);
  if (!reference || kernels > KERNELS) return 0;
  for (uint64_t block = first; block < first + blocks; block++) {
    make_pairs(reference, block, x, y);
    for (int64_t i = 0; i < BLOCK; i++) exact[i] = reference((double)x[i], (double)y[i]);
    try_block(BLOCK, BLOCK, x, y, 1, exact, kernels, kernel_list, found);
  }
  return 1;
}
