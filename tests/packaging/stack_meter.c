/* Measures the stack of one call with up to 12 pointers, for Python; see test_stack.py. */
#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#define STACK_SIZE (1 << 20)
#define PATTERN 0xA5

typedef int function(int64_t, void *, void *, void *, void *, void *, void *, void *, void *,
                     void *, void *, void *, void *);

static _Alignas(64) unsigned char stack[STACK_SIZE];
static ucontext_t outside, inside;
static function *volatile called;
static const unsigned char *frame;
static int64_t batch;
static void **p;
static int status;

static int probe(int64_t n, void *a, void *b, void *c, void *d, void *e, void *f, void *g, void *h,
                 void *i, void *j, void *k, void *l) {
  (void)n, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h, (void)i;
  (void)j, (void)k, (void)l;
  frame = (const unsigned char *)__builtin_dwarf_cfa();
  return 0;
}

static void call(void) {
  status = called(batch, p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11]);
}

static void on_the_stack(function *which) {
  memset(stack, PATTERN, STACK_SIZE);
  getcontext(&inside);
  inside.uc_stack.ss_sp = stack;
  inside.uc_stack.ss_size = STACK_SIZE;
  inside.uc_link = &outside;
  called = which;
  makecontext(&inside, call, 0);
  swapcontext(&outside, &inside);
}

/* Bytes of stack below the caller's frame; negative where the function returns a status. */
int stack_of(function *measured, int64_t n, void **pointers) {
  const unsigned char *low = stack;
  batch = n;
  p = pointers;
  on_the_stack(probe);
  on_the_stack(measured);
  while (low < frame && *low == PATTERN) ++low;
  return status != 0 ? -status : (int)(frame - low);
}
