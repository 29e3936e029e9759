/*
 * Weights in a file of their own; C11 and C++17. Usage: external FILE OTHER_MODEL FOLDER
 * Reads FOLDER/in0 (300 rows of 9 floats) and writes FOLDER/out0. Prints "done".
 */
#include "dense.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 300 };

static int failed = 0;

static void expect(int status, int wanted, const char *what) {
  if (status != wanted) {
    fprintf(stderr, "%s: %s instead of %s\n", what, tfaot_status_string(status),
            tfaot_status_string(wanted));
    failed = 1;
  }
}

static void path_of(char *path, const char *folder, const char *file) {
  (void)snprintf(path, 4096, "%s/%s", folder, file);
}

int main(int count, char **arguments) {
  static float in[ROWS * 9], out[ROWS * 3];
  char path[4096];
  FILE *file;
  void *workspace;
  unsigned char misaligned[256];
  if (count != 4) return 2;
  workspace = aligned_alloc(64, (DENSE_WORKSPACE_BYTES + 64) / 64 * 64);
  if (workspace == 0) return 2;
  path_of(path, arguments[3], "in0");
  file = fopen(path, "rb");
  if (file == 0 || fread(in, sizeof in, 1, file) != 1) return 2;
  (void)fclose(file);

  expect(dense_run(ROWS, in, out, workspace), TFAOT_NO_WEIGHTS, "a run without weights");
  expect(dense_run(-1, in, out, workspace), TFAOT_NEGATIVE_BATCH, "a wrong run without weights");
  path_of(path, arguments[3], "missing");
  expect(dense_map_weights(path), TFAOT_UNREADABLE_WEIGHTS, "a missing file");
  expect(dense_map_weights(arguments[3]), TFAOT_UNREADABLE_WEIGHTS, "a folder");
  path_of(path, arguments[3], "empty");
  expect(dense_map_weights(path), TFAOT_TRUNCATED_WEIGHTS, "an empty file");
  expect(dense_map_weights(arguments[2]), TFAOT_WRONG_WEIGHTS, "another model's file");
  expect(dense_attach_weights(0, 0), TFAOT_NULL_POINTER, "no memory");
  memset(misaligned, 0, sizeof misaligned);
  expect(dense_attach_weights((const void *)(((uintptr_t)misaligned & ~(uintptr_t)63) + 65), 64),
         TFAOT_MISALIGNED_WEIGHTS, "memory that is not aligned");
  expect(dense_run(ROWS, in, out, workspace), TFAOT_NO_WEIGHTS, "a run after refused weights");

  expect(dense_map_weights(arguments[1]), TFAOT_OK, "the file");
  expect(dense_run(ROWS, in, out, workspace), TFAOT_OK, "a run");
  expect(dense_map_weights(arguments[2]), TFAOT_WRONG_WEIGHTS, "another model's file");
  expect(dense_run(ROWS, in, out, workspace), TFAOT_OK, "a run with the weights from before");

  path_of(path, arguments[3], "out0");
  file = fopen(path, "wb");
  if (file == 0 || fwrite(out, sizeof out, 1, file) != 1) return 2;
  (void)fclose(file);
  if (dense_info()->weights_file_bytes != DENSE_WEIGHTS_FILE_BYTES) failed = 1;
  if (strlen(dense_info()->weights_structure) != 64) failed = 1;
  expect(dense_info()->attach_weights(0, 0), TFAOT_NULL_POINTER, "no memory, by introspection");
  if (strcmp(DENSE_WEIGHTS_FILE, "dense.weights") != 0) failed = 1;
  free(workspace);
  if (!failed) puts("done");
  return failed;
}
