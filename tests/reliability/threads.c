/*
 * Calls of a model from threads, processes, forks and signal handlers; C11. Usage:
 *
 *   program threads COUNT N...         threads released at once into each model's first call
 *   program first ROUNDS PROCESSES COUNT N   the same in processes of their own, all at once
 *   program fork FORKS COUNT N         children of a process whose threads are in the middle of calls
 *   program signals MICROSECONDS CALLS N...  a timer's handler calls models while calls run
 *   program stacks BYTES N...          threads with stacks of that size
 *
 * Every result must have the bits of a call in the main thread.
 */
#include "zoo.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_THREADS 256

static int64_t rows_for(const struct tfaot_model_info *info, int64_t n) {
  return info->batch_kind == TFAOT_BATCH_NONE ? 1 : n;
}

/* Inputs are shared between calls; outputs and workspace are the call's own. */
static struct call sharing_inputs(const struct call *other) {
  struct call call = on_the_heap(other->info, other->n);
  for (int i = 0; i < call.inputs; ++i) {
    free(call.data[i]);
    call.data[i] = other->data[i];
  }
  return call;
}

static void release_shared(struct call *call) {
  for (int i = call->inputs; i < call->buffers; ++i) free(call->data[i]);
}

/* Threads that call one model at the same moment */

struct racer {
  pthread_t thread;
  pthread_barrier_t *start;
  struct call call;
  int status;
};

static void *race(void *argument) {
  struct racer *racer = (struct racer *)argument;
  pthread_barrier_wait(racer->start);
  for (int i = 0; i < 3 && racer->status == TFAOT_OK; ++i) racer->status = run(&racer->call);
  return NULL;
}

/* `start` is waited for by `threads` racers of this process, and by others where it is shared. */
static void race_model(const struct tfaot_model_info *info, int64_t n, int threads,
                       pthread_barrier_t *start, const pthread_attr_t *attributes) {
  static struct racer racers[MOST_THREADS];
  struct call reference = on_the_heap(info, n);
  for (int i = 0; i < threads; ++i) {
    racers[i].start = start;
    racers[i].status = TFAOT_OK;
    racers[i].call = sharing_inputs(&reference);
    if (pthread_create(&racers[i].thread, attributes, race, &racers[i]) != 0)
      die("can't start a thread", info->name, n);
  }
  for (int i = 0; i < threads; ++i) pthread_join(racers[i].thread, NULL);
  if (run(&reference) != TFAOT_OK) die("refused", info->name, n);
  for (int i = 0; i < threads; ++i) {
    if (racers[i].status != TFAOT_OK) die("refused in a thread", info->name, n);
    if (!same_outputs(&racers[i].call, &reference)) die("other bits in a thread", info->name, n);
    release_shared(&racers[i].call);
  }
  release(&reference);
}

static void race_here(const struct tfaot_model_info *info, int64_t n, int threads,
                      const pthread_attr_t *attributes) {
  pthread_barrier_t start;
  pthread_barrier_init(&start, NULL, (unsigned)threads);
  race_model(info, rows_for(info, n), threads, &start, attributes);
  pthread_barrier_destroy(&start);
}

/* Processes whose threads all make their first call of a model at once */

static int await_children(int count) {
  for (int i = 0; i < count; ++i) {
    int status = 0;
    if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return 0;
  }
  return 1;
}

static void race_processes(const struct tfaot_model_info *info, int64_t n, int processes,
                           int threads) {
  pthread_barrierattr_t shared;
  pthread_barrier_t *start = (pthread_barrier_t *)mmap(
      NULL, sizeof *start, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) die("no memory", info->name, n);
  pthread_barrierattr_init(&shared);
  pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(start, &shared, (unsigned)(processes * threads));
  fflush(stdout);
  for (int p = 0; p < processes; ++p) {
    const pid_t child = fork();
    if (child < 0) die("can't fork", info->name, n);
    if (child == 0) {
      race_model(info, rows_for(info, n), threads, start, NULL);
      _exit(0);
    }
  }
  if (!await_children(processes)) die("a process failed", info->name, n);
  munmap(start, sizeof *start);
}

/* Forks while threads run */

static atomic_int stop;

static void *run_until_stopped(void *argument) {
  struct call *call = (struct call *)argument;
  do {
    if (run(call) != TFAOT_OK) die("refused in a thread", call->info->name, call->n);
  } while (!atomic_load_explicit(&stop, memory_order_relaxed));
  return NULL;
}

static void fork_in_the_middle(const struct tfaot_model_info *info, int64_t n, int forks,
                               int threads) {
  pthread_t workers[MOST_THREADS];
  struct call calls[MOST_THREADS];
  struct call reference = on_the_heap(info, n), own = on_the_heap(info, n);
  if (run(&reference) != TFAOT_OK) die("refused", info->name, n);
  atomic_store(&stop, 0);
  fflush(stdout);
  for (int i = 0; i < threads; ++i) {
    calls[i] = sharing_inputs(&reference);
    if (pthread_create(&workers[i], NULL, run_until_stopped, &calls[i]) != 0)
      die("can't start a thread", info->name, n);
  }
  for (int k = 0; k < forks; ++k) {
    const pid_t child = fork();
    if (child < 0) die("can't fork", info->name, n);
    /* A child of a process with threads may call what is safe in signal handlers: a model is. */
    if (child == 0) _exit(run(&own) == TFAOT_OK && same_outputs(&own, &reference) ? 0 : 1);
    if (!await_children(1)) die("a child failed", info->name, n);
  }
  atomic_store(&stop, 1);
  for (int i = 0; i < threads; ++i) {
    pthread_join(workers[i], NULL);
    if (!same_outputs(&calls[i], &reference)) die("other bits after forks", info->name, n);
    release_shared(&calls[i]);
  }
  release(&reference);
  release(&own);
}

/* Signal handlers */

static struct call handled[NUM_MODELS], expected[NUM_MODELS], running[NUM_MODELS];
static volatile sig_atomic_t inside_a_call, interruptions, handler_calls, handler_failures;

static void call_in_handler(int number) {
  const int m = (int)(handler_calls % NUM_MODELS);
  (void)number;
  interruptions = interruptions + inside_a_call;
  handler_calls = handler_calls + 1;
  clear_outputs(&handled[m]);
  if (run(&handled[m]) != TFAOT_OK || !same_outputs(&handled[m], &expected[m]))
    handler_failures = handler_failures + 1;
}

static void storm(long microseconds, long calls, int64_t n) {
  static _Alignas(64) byte alternate[64 << 10];
  const struct itimerval often = {{0, microseconds}, {0, microseconds}}, never = {{0, 0}, {0, 0}};
  stack_t stack;
  struct sigaction action;
  memset(&stack, 0, sizeof stack);
  stack.ss_sp = alternate;
  stack.ss_size = sizeof alternate;
  memset(&action, 0, sizeof action);
  action.sa_handler = call_in_handler;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  for (int m = 0; m < NUM_MODELS; ++m) {
    const struct tfaot_model_info *info = models[m]();
    expected[m] = on_the_heap(info, rows_for(info, n));
    handled[m] = on_the_heap(info, rows_for(info, n));
    running[m] = on_the_heap(info, rows_for(info, n));
    if (run(&expected[m]) != TFAOT_OK) die("refused", info->name, n);
  }
  if (sigaltstack(&stack, NULL) != 0 || sigaction(SIGALRM, &action, NULL) != 0 ||
      setitimer(ITIMER_REAL, &often, NULL) != 0)
    die("no timer", "signals", n);
  for (long i = 0; i < calls; ++i) {
    struct call *call = &running[i % NUM_MODELS];
    int status;
    clear_outputs(call);
    inside_a_call = 1;
    status = run(call);
    inside_a_call = 0;
    if (status != TFAOT_OK || !same_outputs(call, &expected[i % NUM_MODELS]))
      die("a call that was interrupted gave other bits", call->info->name, n);
  }
  setitimer(ITIMER_REAL, &never, NULL);
  if (handler_failures != 0) die("a call in a handler gave other bits", "signals", n);
  for (int m = 0; m < NUM_MODELS; ++m) {
    release(&expected[m]);
    release(&handled[m]);
    release(&running[m]);
  }
  printf("interrupted %ld\n", (long)interruptions);
}

static long number(char **argv, int argc, int at) {
  return at < argc ? strtol(argv[at], NULL, 10) : 0;
}

int main(int argc, char **argv) {
  const char *mode = argc > 2 ? argv[1] : "";
  if (strcmp(mode, "signals") == 0) {
    for (int k = 4; k < argc; ++k) storm(number(argv, argc, 2), number(argv, argc, 3),
                                         number(argv, argc, k));
  }
  for (int m = 0; m < NUM_MODELS; ++m) {
    const struct tfaot_model_info *info = models[m]();
    if (strcmp(mode, "threads") == 0) {
      for (int k = 3; k < argc; ++k)
        race_here(info, number(argv, argc, k), (int)number(argv, argc, 2), NULL);
    } else if (strcmp(mode, "first") == 0) {
      for (long round = 0; round < number(argv, argc, 2); ++round)
        race_processes(info, number(argv, argc, 5), (int)number(argv, argc, 3),
                       (int)number(argv, argc, 4));
    } else if (strcmp(mode, "fork") == 0) {
      fork_in_the_middle(info, rows_for(info, number(argv, argc, 4)), (int)number(argv, argc, 2),
                         (int)number(argv, argc, 3));
    } else if (strcmp(mode, "stacks") == 0) {
      pthread_attr_t attributes;
      pthread_attr_init(&attributes);
      if (pthread_attr_setstacksize(&attributes, (size_t)number(argv, argc, 2)) != 0)
        die("no stack of this size", info->name, 0);
      for (int level = next_level(info, -1); level >= 0; level = next_level(info, level))
        for (int k = 3; k < argc; ++k) race_here(info, number(argv, argc, k), 2, &attributes);
    }
  }
  printf("done\n");
  return 0;
}
