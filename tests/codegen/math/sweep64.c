/* Errors of compiled float64 functions on random arguments, against the C library's long doubles.

   As sweep.c, which see; a long double has 64 bits of mantissa on x86 and 113 elsewhere. Where it
   is a double, there is no reference. */

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "sweep_random.h"

/* What sweep.py reads; the same fields in the same order. */
typedef struct {
  double ulp;
  double worst_exact;
  double worst_argument[2];
  double worst_got;
  double differs_argument[2];
  double sign_argument[2];
  uint64_t differs;
  uint64_t wrong_sign;
} finding;

typedef void unary_code(int64_t count, double *result, const double *x);
typedef void binary_code(int64_t count, double *result, const double *x, const double *y);

/* `same_as` is an earlier kernel that must give the same bits, or -1. */
typedef struct {
  union {
    unary_code *unary;
    binary_code *binary;
  } code;
  int64_t same_as;
} kernel;

static long double logistic(long double x) { return 1.0L / (1.0L + expl(-x)); }
static long double rsqrt(long double x) { return 1.0L / sqrtl(x); }

typedef long double unary_reference(long double);
typedef long double binary_reference(long double, long double);

static const struct {
  const char *name;
  unary_reference *unary;
  binary_reference *binary;
} references[] = {
    {"atan2", NULL, atan2l},
    {"cbrt", cbrtl, NULL},
    {"cosine", cosl, NULL},
    {"erf", erfl, NULL},
    {"exponential", expl, NULL},
    {"exponential-minus-one", expm1l, NULL},
    {"log", logl, NULL},
    {"log-plus-one", log1pl, NULL},
    {"logistic", logistic, NULL},
    {"power", NULL, powl},
    {"remainder", NULL, fmodl},
    {"rsqrt", rsqrt, NULL},
    {"sine", sinl, NULL},
    {"sqrt", sqrtl, NULL},
    {"tan", tanl, NULL},
    {"tanh", tanhl, NULL},
};

static double error_of(double got, long double exact) {
  const long double limit = 0x1p1024L;
  long double g = got;
  if (g != g || exact != exact) return g != g && exact != exact ? 0.0 : INFINITY;
  g = fminl(fmaxl(g, -limit), limit);
  exact = fminl(fmaxl(exact, -limit), limit);
  int exponent = -1022;
  if (exact != 0.0L) {
    frexpl(exact, &exponent);
    exponent = exponent - 1 < -1022 ? -1022 : exponent - 1 > 1023 ? 1023 : exponent - 1;
  }
  return (double)ldexpl(fabsl(g - exact), 52 - exponent);
}

static int differ(double a, double b) {
  return memcmp(&a, &b, sizeof a) != 0 && !(a != a && b != b);
}

static int wrong_sign(double got, long double exact) {
  return got == got && exact == exact && !signbit(got) != !signbit(exact);
}

static void judge(const double *x, const double *y, const double *got, const long double *exact,
                  const double *other, finding *found) {
  for (int i = 0; i < BLOCK; i++) {
    const double error = error_of(got[i], exact[i]);
    if (error > found->ulp) {
      found->ulp = error;
      found->worst_argument[0] = x[i];
      found->worst_argument[1] = y[i];
      found->worst_got = got[i];
      found->worst_exact = (double)exact[i];
    }
    if (other && differ(got[i], other[i]) && !found->differs++) {
      found->differs_argument[0] = x[i];
      found->differs_argument[1] = y[i];
    }
    if (wrong_sign(got[i], exact[i]) && !found->wrong_sign++) {
      found->sign_argument[0] = x[i];
      found->sign_argument[1] = y[i];
    }
  }
}

static const double special[] = {
    0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 0.5, 1.5, 2.5, 0.25, DBL_MIN, 0x1p-1074,
    0x1.ffffffffffffep-1023, DBL_MAX, 0x1.0000000000001p0, 0x1.fffffffffffffp-1, 0x1p52, 0x1p53,
    0x1.fffffffffffffp52, 0x1p54, INFINITY, NAN,
};
enum { SPECIALS = sizeof special / sizeof *special };

static double special_of(uint64_t random) {
  const double x = special[(random >> 1) % SPECIALS];
  return random & 1 ? -x : x;
}

static double double_of(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static double unit_of(uint64_t random) { return (double)(random >> 11) * 0x1p-53; }

/* A double of random sign and mantissa, with an exponent in [low, low + span). */
static double spread(uint64_t random, uint64_t second, int low, int span) {
  const uint64_t exponent = (uint64_t)(1023 + low) + second % (uint64_t)span;
  return double_of((random & 0x800FFFFFFFFFFFFFu) | exponent << 52);
}

/* Single arguments of four kinds, block by block. */
static void make_arguments(uint64_t block, double *x) {
  for (uint64_t i = 0; i < BLOCK; i++) {
    const uint64_t position = (block * BLOCK + i) * 2 + 1;
    const uint64_t a = random_at(position), b = random_at(position + 1);
    switch (block % 4) {
      case 0: /* any bit patterns */
        x[i] = double_of(a);
        break;
      case 1: /* where most functions are curved */
        x[i] = 6.0 * unit_of(a) - 3.0;
        break;
      case 2: /* up to where exp overflows */
        x[i] = spread(a, b, -8, 18);
        break;
      default: /* near 1, and near multiples of pi / 2 */
        if (i % 2)
          x[i] = 1.0 + spread(a, b, -52, 51);
        else
          x[i] = (double)(a >> (b % 32 + 32)) * 0x1.921fb54442d18p0;
    }
    if (i % 32 == 5) x[i] = special_of(a >> 8);
  }
}

/* Pairs of four kinds, block by block. */
static void make_pairs(const char *name, uint64_t block, double *x, double *y) {
  const int is_power = !strcmp(name, "power"), is_remainder = !strcmp(name, "remainder");
  for (uint64_t i = 0; i < BLOCK; i++) {
    const uint64_t position = (block * BLOCK + i) * 4 + 1;
    const uint64_t a = random_at(position), b = random_at(position + 1);
    const uint64_t c = random_at(position + 2), d = random_at(position + 3);
    /* The binary logarithm of a power that may be a subnormal, or just overflow. */
    const double logarithm = unit_of(c) * 2120.0 - 1085.0;
    switch (block % 4) {
      case 0: /* any bit patterns */
        x[i] = double_of(a);
        y[i] = double_of(b);
        break;
      case 1: /* ordinary numbers */
        x[i] = spread(a, c, -6, 12);
        y[i] = spread(b, d, -6, 12);
        break;
      case 2: /* of all sizes, near each other; powers of numbers of all sizes */
        x[i] = spread(a, d, -1022, 2046);
        if (is_power) x[i] = fabs(x[i]);
        y[i] = is_power ? logarithm / log2(x[i]) : x[i] * spread(b, c, -30, 60);
        break;
      default: /* powers of numbers near 1; near multiples of the divisor; angles near diagonals */
        if (is_power) {
          x[i] = 1.0 + spread(a, d, -52, 51);
          y[i] = logarithm / log2(x[i]);
        } else {
          y[i] = spread(b, d, -2, 4);
          x[i] = is_remainder ? y[i] * floor(unit_of(c) * 0x1p30) : spread(a, c, -2, 4);
        }
    }
    if (i % 32 == 5 || i % 32 == 21) x[i] = special_of(a >> 8);
    if (i % 32 == 13 || i % 32 == 21) y[i] = special_of(b >> 8);
  }
}

/* Random arguments: `blocks` blocks of 4096 from number `first` on. Returns whether there is such a
   reference. */
int sweep_float64(const char *name, uint64_t first, uint64_t blocks, int64_t kernels,
                  const kernel *kernel_list, finding *found) {
  static _Thread_local double x[BLOCK], y[BLOCK], result[KERNELS][BLOCK];
  static _Thread_local long double exact[BLOCK];
  unary_reference *unary = NULL;
  binary_reference *binary = NULL;
  for (size_t i = 0; i < sizeof references / sizeof *references; i++)
    if (!strcmp(name, references[i].name)) {
      unary = references[i].unary;
      binary = references[i].binary;
    }
  if ((!unary && !binary) || kernels > KERNELS || LDBL_MANT_DIG <= DBL_MANT_DIG) return 0;
  for (uint64_t block = first; block < first + blocks; block++) {
    if (unary)
      make_arguments(block, x);
    else
      make_pairs(name, block, x, y);
    for (int i = 0; i < BLOCK; i++)
      exact[i] = unary ? unary((long double)x[i]) : binary((long double)x[i], (long double)y[i]);
    for (int64_t k = 0; k < kernels; k++) {
      const kernel *this = &kernel_list[k];
      if (unary)
        this->code.unary(BLOCK, result[k], x);
      else
        this->code.binary(BLOCK, result[k], x, y);
      const double *other = this->same_as < 0 ? NULL : result[this->same_as];
      judge(x, y, result[k], exact, other, &found[k]);
    }
  }
  return 1;
}
