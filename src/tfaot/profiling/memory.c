/*
 * Memory of compiled models in a C program: resident and private bytes per models and threads.
 * Arguments: batch size; numbers of threads, ascending (1,2,4); bytes of the inputs and outputs
 * (64,8); the shared library of a tiny model; those of the models, each with a model linked to
 * native.c of tfaot's engines, beside which LIBRARY.weights is where its weights are outside. Prints one JSON object per state.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TENSORS = 256, MAX_THREADS = 1024 };

typedef int (*call_function)(int64_t batch, void *const *p, void *workspace);
typedef int64_t (*workspace_function)(int64_t batch);

struct model {
  call_function call;
  workspace_function workspace;
};

static struct model *models;
static int model_count;
static int64_t batch_size, tensor_bytes[MAX_TENSORS];
static int tensor_count;
static pthread_barrier_t together;

static void fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void tell(const char *stage, int loaded, int threads) {
  FILE *file = fopen("/proc/self/smaps_rollup", "r");
  long resident = 0, privately = 0, kilobytes = 0;
  char line[256];
  if (file == NULL) fail("/proc/self/smaps_rollup can't be read: memory is measured on Linux");
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "Rss: %ld", &kilobytes) == 1) resident = kilobytes;
    if (sscanf(line, "Private_Clean: %ld", &kilobytes) == 1 ||
        sscanf(line, "Private_Dirty: %ld", &kilobytes) == 1)
      privately += kilobytes;
  }
  fclose(file);
  printf("{\"stage\": \"%s\", \"models\": %d, \"threads\": %d, \"resident\": %ld, "
         "\"private\": %ld}\n",
         stage, loaded, threads, resident * 1024, privately * 1024);
  fflush(stdout);
}

static struct model load(const char *path) {
  struct model made;
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void *call, *workspace, *weights;
  int (*take_weights)(const char *);
  char beside[4096];
  if (library == NULL) fail(dlerror());
  call = dlsym(library, "native_call");
  workspace = dlsym(library, "native_workspace");
  if (call == NULL || workspace == NULL) fail("the library has no native_call");
  memcpy(&made.call, &call, sizeof call);
  memcpy(&made.workspace, &workspace, sizeof workspace);
  weights = dlsym(library, "native_weights");
  if (weights == NULL) return made;
  memcpy(&take_weights, &weights, sizeof weights);
  if (snprintf(beside, sizeof beside, "%s.weights", path) >= (int)sizeof beside)
    fail("the path of the library is too long");
  if (take_weights(beside) != 0) fail("the model refuses its weights");
  return made;
}

static void *buffer(int64_t bytes) {
  /* Zeroed, so that a read of it is a read of pages that are there. */
  const size_t size = ((size_t)bytes / 64 + 1) * 64;
  void *place = aligned_alloc(64, size);
  if (place == NULL) fail("out of memory");
  return memset(place, 0, size);
}

/* The runtime: one call of a model that takes nothing to speak of, four floats to four. */
static void run_tiny(const char *path) {
  const struct model tiny = load(path);
  void *p[2] = {buffer(16), buffer(16)}, *workspace = buffer(tiny.workspace(1));
  if (tiny.call(1, p, workspace) != 0) fail("the tiny model refuses its call");
  free(p[0]);
  free(p[1]);
  free(workspace);
}

/* Each thread evaluates every model with buffers of its own, and stays until all were counted. */
static void *evaluate(void *unused) {
  void *p[MAX_TENSORS], *workspace;
  int64_t most = 0;
  (void)unused;
  for (int i = 0; i < tensor_count; ++i) p[i] = buffer(tensor_bytes[i]);
  for (int m = 0; m < model_count; ++m) {
    const int64_t bytes = models[m].workspace(batch_size);
    if (bytes > most) most = bytes;
  }
  workspace = buffer(most);
  for (int m = 0; m < model_count; ++m)
    if (models[m].call(batch_size, p, workspace) != 0) fail("the model refuses the batch size");
  pthread_barrier_wait(&together);
  pthread_barrier_wait(&together);
  for (int i = 0; i < tensor_count; ++i) free(p[i]);
  free(workspace);
  return NULL;
}

static void count(int threads) {
  static pthread_t pool[MAX_THREADS];
  if (threads < 1 || threads > MAX_THREADS) fail("1 to 1024 threads are possible");
  pthread_barrier_init(&together, NULL, (unsigned)threads + 1);
  for (int t = 0; t < threads; ++t)
    if (pthread_create(&pool[t], NULL, evaluate, NULL) != 0) fail("no further thread is possible");
  pthread_barrier_wait(&together);
  tell("run", model_count, threads);
  pthread_barrier_wait(&together);
  for (int t = 0; t < threads; ++t) pthread_join(pool[t], NULL);
  pthread_barrier_destroy(&together);
}

int main(int argc, char **argv) {
  char *part;
  if (argc < 6) fail("usage: memory BATCH THREADS BYTES TINY MODEL...");
  tell("start", 0, 0);
  batch_size = atoll(argv[1]);
  for (part = strtok(argv[3], ","); part != NULL; part = strtok(NULL, ",")) {
    if (tensor_count == MAX_TENSORS) fail("the model has more than 256 inputs and outputs");
    tensor_bytes[tensor_count++] = atoll(part);
  }
  run_tiny(argv[4]);
  tell("runtime", 0, 0);
  models = malloc((size_t)(argc - 5) * sizeof *models);
  if (models == NULL) fail("out of memory");
  for (; model_count < argc - 5; ++model_count) models[model_count] = load(argv[5 + model_count]);
  tell("load", model_count, 0);
  for (part = strtok(argv[2], ","); part != NULL; part = strtok(NULL, ",")) count(atoi(part));
  return 0;
}
