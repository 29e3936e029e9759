/*
 * Runs a model for a range of batch sizes in buffers of exactly the right size; C11 and C++17.
 *
 * Usage: program LAST STEP EXACT, with the inputs of LAST rows in in0, in1, ... of the working
 * folder; the outputs of LAST rows are written to out0, out1, ... EXACT is 1 to allocate each buffer
 * without bytes around it (valgrind finds what is read or written beside it), else canaries
 * surround each buffer. Inputs and outputs are aligned as their elements and no better.
 *
 * model.h defines MODEL_INFO(), MODEL_WORKSPACE_BYTES(n) and MODEL_RUN(n, in, out, workspace).
 */
#include "model.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CANARIES 256
#define MOST_TENSORS 8

typedef unsigned char byte;

struct block {
  byte *memory;
  byte *data;
  size_t size;
};

static int exact = 0;

static size_t element_size(int dtype) {
  switch (dtype) {
    case TFAOT_PRED: return 1;
    case TFAOT_S32: return 4;
    case TFAOT_F32: return 4;
    case TFAOT_F64: return 8;
    default: printf("type %d is not expected here\n", dtype); exit(1);
  }
}

static size_t tensor_bytes(const struct tfaot_tensor_info *tensor, int64_t n) {
  size_t size = element_size(tensor->dtype);
  for (int i = 0; i < tensor->rank; ++i)
    size *= (size_t)(tensor->dims[i].scale * n + tensor->dims[i].offset);
  return size;
}

/* Memory of `size` bytes, `misalign` bytes beyond a multiple of 64, with canaries around it. */
static struct block make(size_t size, size_t misalign) {
  struct block made;
  const size_t around = exact ? 0 : CANARIES;
  size_t address;
  made.memory = (byte *)malloc(size + 2 * around + 128);
  if (exact && misalign != 0) {
    /* valgrind knows the end of what malloc gave, so the data must be all of it. */
    free(made.memory);
    made.memory = (byte *)malloc(size > 0 ? size : 1);
    made.data = made.memory;
  } else {
    address = (size_t)(uintptr_t)made.memory + around;
    made.data = made.memory + around + ((64 - address % 64) % 64) + misalign;
  }
  if (made.memory == NULL) {
    printf("out of memory\n");
    exit(1);
  }
  made.size = size;
  if (!exact) {
    memset(made.data - around, 0xC5, around);
    memset(made.data + size, 0xC5, around - 64);
  }
  return made;
}

static int is_intact(const struct block *block) {
  if (exact) return 1;
  for (size_t i = 0; i < CANARIES; ++i)
    if (block->data[i - CANARIES] != 0xC5) return 0;
  for (size_t i = 0; i < CANARIES - 64; ++i)
    if (block->data[block->size + i] != 0xC5) return 0;
  return 1;
}

static int fail(const char *problem, const char *name, int64_t n) {
  printf("%s '%s' at batch %d\n", problem, name, (int)n);
  return 1;
}

static byte *read_file(const char *kind, int index, size_t size) {
  char path[32];
  byte *data = (byte *)malloc(size + 1);
  FILE *file;
  snprintf(path, sizeof path, "%s%d", kind, index);
  file = fopen(path, "rb");
  if (data == NULL || file == NULL || fread(data, 1, size + 1, file) != size) {
    printf("can't read %s\n", path);
    exit(1);
  }
  fclose(file);
  return data;
}

static void write_file(int index, const struct block *block) {
  char path[32];
  FILE *file;
  snprintf(path, sizeof path, "out%d", index);
  file = fopen(path, "wb");
  if (file == NULL || fwrite(block->data, 1, block->size, file) != block->size) {
    printf("can't write %s\n", path);
    exit(1);
  }
  fclose(file);
}

int main(int argc, char **argv) {
  const struct tfaot_model_info *info = MODEL_INFO();
  byte *inputs[MOST_TENSORS];
  struct block reference[MOST_TENSORS];
  int64_t last, step;
  unsigned checksum = 0;
  if (argc != 4) return 2;
  last = strtol(argv[1], NULL, 10);
  step = strtol(argv[2], NULL, 10);
  exact = strtol(argv[3], NULL, 10) == 1;
  if (info->num_inputs > MOST_TENSORS || info->num_outputs > MOST_TENSORS) return 2;
  for (int i = 0; i < info->num_inputs; ++i)
    inputs[i] = read_file("in", i, tensor_bytes(&info->inputs[i], last));

  /* The largest batch first: the others are compared with its rows. */
  for (int64_t round = -1; round * step <= last; ++round) {
    const int64_t n = round < 0 ? last : round * step;
    struct block in[MOST_TENSORS], out[MOST_TENSORS], workspace;
    const int64_t needed = MODEL_WORKSPACE_BYTES(n);
    if (needed < 0) return fail("no workspace size", info->name, n);
    if (info->workspace_bytes >= 0 && needed != info->workspace_bytes)
      return fail("workspace is not constant", info->name, n);
    workspace = make((size_t)needed, 0);
    for (int i = 0; i < info->num_inputs; ++i) {
      in[i] = make(tensor_bytes(&info->inputs[i], n), element_size(info->inputs[i].dtype));
      memcpy(in[i].data, inputs[i], in[i].size);
    }
    for (int i = 0; i < info->num_outputs; ++i) {
      out[i] = make(tensor_bytes(&info->outputs[i], n), element_size(info->outputs[i].dtype));
      if (!exact) memset(out[i].data, 0x5A, out[i].size);
    }
    if (MODEL_RUN(n, in, out, workspace.data) != TFAOT_OK) return fail("refused", info->name, n);
    if (!is_intact(&workspace)) return fail("wrote beside the workspace", info->name, n);
    for (int i = 0; i < info->num_inputs; ++i) {
      if (!is_intact(&in[i])) return fail("wrote beside input", info->inputs[i].name, n);
      if (memcmp(in[i].data, inputs[i], in[i].size) != 0)
        return fail("changed input", info->inputs[i].name, n);
      free(in[i].memory);
    }
    for (int i = 0; i < info->num_outputs; ++i) {
      if (!is_intact(&out[i])) return fail("wrote beside output", info->outputs[i].name, n);
      for (size_t k = 0; k < out[i].size; ++k) checksum = checksum * 31 + out[i].data[k];
      if (round < 0) {
        write_file(i, &out[i]);
        reference[i] = out[i];
        continue;
      }
      if (info->rows_independent && memcmp(out[i].data, reference[i].data, out[i].size) != 0)
        return fail("rows depend on the batch size in output", info->outputs[i].name, n);
      free(out[i].memory);
    }
    free(workspace.memory);
  }
  for (int i = 0; i < info->num_inputs; ++i) free(inputs[i]);
  for (int i = 0; i < info->num_outputs; ++i) free(reference[i].memory);
  /* valgrind speaks up here where an output was never written. */
  printf(checksum == 1 ? "done!\n" : "done\n");
  return 0;
}
