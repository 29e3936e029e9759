/*
 * Measures the stack and counts the calls of the heap that runs of a model take; C11.
 *
 * Usage: program LEVEL N..., with 0 or the highest x86-64 level. Each run has a stack of its own,
 * filled with a pattern; what differs from it afterwards was used. One line per batch size: n,
 * status, bytes of stack below the caller's frame, calls of the heap.
 *
 * model.h defines PARAMETERS, ARGUMENTS, POINTERS (their number), RUN, INFO, SET_MAX_ISA and
 * WORKSPACE_BYTES; NO_HEAP leaves the heap alone.
 */
#define _GNU_SOURCE
#include "model.h"

#ifndef NO_HEAP
#include "heap.h"
#endif
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define STACK_SIZE (1 << 20)
#define PATTERN 0xA5

typedef int function(PARAMETERS);

static _Alignas(64) unsigned char stack[STACK_SIZE];
static ucontext_t outside, inside;
static function *volatile called;
static const unsigned char *frame; /* where the stack pointer was as the function was called */
static void *pointers[POINTERS];
static int64_t batch;
static int status;
static long heap;

/* Stands in for the model, called from the same place. */
static int probe(PARAMETERS) {
  IGNORE;
  frame = (const unsigned char *)__builtin_dwarf_cfa();
  return 0;
}

static void call(void) {
#ifdef NO_HEAP
  status = called(ARGUMENTS);
#else
  const long before = heap_calls;
  status = called(ARGUMENTS);
  heap = heap_calls - before;
#endif
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

int main(int argc, char **argv) {
  const struct tfaot_model_info *info = INFO();
  SET_MAX_ISA((int)strtol(argv[1], NULL, 10));
  printf("stated %lld\n", (long long)info->stack_bytes);
  for (int k = 2; k < argc; ++k) {
    const unsigned char *low = stack;
    batch = strtol(argv[k], NULL, 10);
    for (int i = 0; i < info->num_inputs + info->num_outputs; ++i) {
      const struct tfaot_tensor_info *t =
          i < info->num_inputs ? &info->inputs[i] : &info->outputs[i - info->num_inputs];
      size_t size = 16; /* no type takes more */
      for (int d = 0; d < t->rank; ++d)
        size *= (size_t)(t->dims[d].scale * batch + t->dims[d].offset);
      pointers[i] = calloc(size + 1, 1);
    }
    pointers[POINTERS - 1] = aligned_alloc(64, (size_t)(WORKSPACE_BYTES(batch) / 64 + 1) * 64);
    on_the_stack(probe);
    on_the_stack(RUN);
    while (low < frame && *low == PATTERN) ++low;
    printf("%d %d %d %ld\n", (int)batch, status, (int)(frame - low), heap);
    for (int i = 0; i < POINTERS; ++i) free(pointers[i]);
  }
  return 0;
}
