/*
 * What the programs of this folder share: buffers of a model's call, filled in a known way; C11.
 *
 * models.h, which the test writes, includes the models' headers and defines MODELS, the list of
 * their NAME_info functions.
 */
#ifndef ZOO_H
#define ZOO_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "models.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TENSORS 16

typedef unsigned char byte;
typedef const struct tfaot_model_info *info_function(void);

static info_function *const models[] = {MODELS};
#define NUM_MODELS ((int)(sizeof models / sizeof models[0]))

static void die(const char *problem, const char *name, int64_t n) {
  printf("%s: %s at batch %d\n", name, problem, (int)n);
  exit(1);
}

static inline size_t element_bytes(int dtype) {
  switch (dtype) {
    case TFAOT_S16: case TFAOT_U16: case TFAOT_F16: case TFAOT_BF16: return 2;
    case TFAOT_S32: case TFAOT_U32: case TFAOT_F32: return 4;
    case TFAOT_S64: case TFAOT_U64: case TFAOT_F64: case TFAOT_C64: return 8;
    case TFAOT_C128: return 16;
    default: return 1;
  }
}

/* What an address of this type is a multiple of: complex numbers are two of their parts. */
static inline size_t element_alignment(int dtype) {
  const size_t bytes = element_bytes(dtype);
  return dtype == TFAOT_C64 || dtype == TFAOT_C128 ? bytes / 2 : bytes;
}

static inline size_t tensor_bytes(const struct tfaot_tensor_info *tensor, int64_t n) {
  size_t size = element_bytes(tensor->dtype);
  for (int d = 0; d < tensor->rank; ++d) {
    const int64_t dim = tensor->dims[d].scale * n + tensor->dims[d].offset;
    size *= dim > 0 ? (size_t)dim : 0;
  }
  return size;
}

/* Element i of an input: floats between -2 and 2, integers from -3 to 20; the same in each call. */
static inline void fill(byte *data, size_t bytes, int dtype, unsigned seed) {
  uint32_t state = seed * 2654435761u + 12345u;
  const size_t width = element_bytes(dtype);
  for (size_t at = 0; at < bytes; at += width) {
    const size_t parts = dtype == TFAOT_C64 || dtype == TFAOT_C128 ? 2 : 1;
    for (size_t part = 0; part < parts; ++part) {
      byte *place = data + at + part * (width / parts);
      int64_t whole;
      float f32;
      double f64;
      uint32_t bits;
      state = state * 1664525u + 1013904223u;
      whole = (int64_t)((state >> 16) % 24) - 3;
      f64 = ((double)(state >> 8) / 16777216.0 - 0.5) * 4.0;
      f32 = (float)f64;
      switch (dtype) {
        case TFAOT_F64: case TFAOT_C128: memcpy(place, &f64, 8); break;
        case TFAOT_F32: case TFAOT_C64: memcpy(place, &f32, 4); break;
        case TFAOT_BF16: memcpy(&bits, &f32, 4); bits >>= 16; memcpy(place, &bits, 2); break;
        case TFAOT_F16: bits = (state >> 17) & 0xBFFF; memcpy(place, &bits, 2); break;
        case TFAOT_PRED: *place = (byte)(state >> 31); break;
        default:
          if (whole < 0 && dtype >= TFAOT_U4 && dtype <= TFAOT_U64) whole = -whole;
          memcpy(place, &whole, width); /* little-endian */
      }
    }
  }
}

/* A call: pointers to its buffers and their sizes, inputs first, the workspace last. */
struct call {
  const struct tfaot_model_info *info;
  int64_t n;
  int inputs, buffers; /* buffers counts the workspace */
  byte *data[2 * MOST_TENSORS + 1];
  size_t size[2 * MOST_TENSORS + 1];
};

static inline const struct tfaot_tensor_info *tensor_of(const struct call *call, int i) {
  return i < call->inputs ? &call->info->inputs[i] : &call->info->outputs[i - call->inputs];
}

/* Sizes of all buffers; the pointers are the caller's to set. */
static inline struct call prepare(const struct tfaot_model_info *info, int64_t n) {
  struct call call;
  const int64_t workspace = info->workspace_bytes_for(n);
  memset(&call, 0, sizeof call);
  call.info = info;
  call.n = n;
  call.inputs = info->num_inputs;
  call.buffers = info->num_inputs + info->num_outputs + 1;
  if (info->num_inputs > MOST_TENSORS || info->num_outputs > MOST_TENSORS)
    die("too many tensors", info->name, n);
  if (workspace < 0) die("no size of the workspace", info->name, n);
  for (int i = 0; i < call.buffers - 1; ++i) call.size[i] = tensor_bytes(tensor_of(&call, i), n);
  call.size[call.buffers - 1] = (size_t)workspace;
  return call;
}

static inline void fill_inputs(const struct call *call) {
  for (int i = 0; i < call->inputs; ++i)
    fill(call->data[i], call->size[i], tensor_of(call, i)->dtype, (unsigned)i + 1);
}

static inline int run(const struct call *call) {
  const void *in[MOST_TENSORS + 1];
  void *out[MOST_TENSORS + 1];
  const int outputs = call->buffers - 1 - call->inputs;
  for (int i = 0; i < call->inputs; ++i) in[i] = call->data[i];
  for (int i = 0; i < outputs; ++i) out[i] = call->data[call->inputs + i];
  return call->info->run(call->n, in, out, call->data[call->buffers - 1]);
}

/* A call in buffers of the heap, each aligned to 64 bytes, with its inputs filled. */
static inline struct call on_the_heap(const struct tfaot_model_info *info, int64_t n) {
  struct call call = prepare(info, n);
  for (int i = 0; i < call.buffers; ++i) {
    call.data[i] = (byte *)aligned_alloc(64, (call.size[i] / 64 + 1) * 64);
    if (call.data[i] == NULL) die("out of memory", info->name, n);
    memset(call.data[i], 0x5A, call.size[i]);
  }
  fill_inputs(&call);
  return call;
}

static inline void release(struct call *call) {
  for (int i = 0; i < call->buffers; ++i) free(call->data[i]);
}

/* Whether the outputs of two calls have the same bits. */
static inline int same_outputs(const struct call *one, const struct call *other) {
  for (int i = one->inputs; i < one->buffers - 1; ++i)
    if (memcmp(one->data[i], other->data[i], one->size[i]) != 0) return 0;
  return 1;
}

static inline void clear_outputs(struct call *call) {
  for (int i = call->inputs; i < call->buffers - 1; ++i) memset(call->data[i], 0x5A, call->size[i]);
}

/* The levels to try, lowest first: those of a model that chooses, else 0 alone. */
static inline int next_level(const struct tfaot_model_info *info, int level) {
  if (info->set_max_isa == NULL) return level < 0 ? 0 : -1;
  for (level = level < 2 ? 2 : level + 1; level <= 4; ++level)
    if (info->set_max_isa(level) == level) return level;
  return -1;
}

#endif
