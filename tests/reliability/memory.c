/*
 * Memory of a model's calls: C11. Usage: program MODE N..., one MODE of
 *
 *   guard   each buffer ends right before, or begins right after, a page that can't be touched, or
 *           lies between canaries, aligned as its elements and no better; inputs can't be written.
 *           Results have the bits of a call in roomy buffers; for each level of the CPU.
 *   exact   each buffer is of its own malloc, for valgrind: nothing may be read or written beside
 *           it, and every byte of the outputs must have been written.
 *   stack   the most stack that a call takes, of what is stated: one line per model.
 *   growth  as many calls as the last number says, of each model: memory does not grow.
 */
#include "zoo.h"

#include <malloc.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum placement { AT_END, AT_START, ODD, NUM_PLACEMENTS };

#define CANARY 0xC5
#define STACK_BYTES (256 << 10)

/* A buffer in pages of its own; `around` bytes before and after it can be touched. */
struct guarded {
  byte *pages, *first, *data;
  size_t whole, size;
};

static struct guarded guard(size_t size, size_t alignment, enum placement placement) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  struct guarded made;
  const size_t room = size + (placement == ODD ? 2 * page : alignment);
  made.whole = (room + page - 1) / page * page;
  made.size = size;
  made.pages = (byte *)mmap(NULL, made.whole + 2 * page, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (made.pages == MAP_FAILED) die("no memory", "guard", 0);
  made.first = made.pages + page;
  memset(made.first, CANARY, made.whole);
  if (mprotect(made.pages, page, PROT_NONE) != 0 ||
      mprotect(made.first + made.whole, page, PROT_NONE) != 0)
    die("can't protect pages", "guard", 0);
  made.data = made.first;
  if (placement == AT_END) made.data += made.whole - (size + alignment - 1) / alignment * alignment;
  if (placement == ODD) made.data += 64 + (alignment < 64 ? alignment : 0);
  return made;
}

static int is_intact(const struct guarded *made) {
  for (const byte *at = made->first; at < made->first + made->whole; ++at)
    if ((at < made->data || at >= made->data + made->size) && *at != CANARY) return 0;
  return 1;
}

static void check_guarded(const struct call *reference, int expected, enum placement placement) {
  const struct tfaot_model_info *info = reference->info;
  const int64_t n = reference->n;
  struct call call = prepare(info, n);
  struct guarded made[2 * MOST_TENSORS + 1];
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < call.buffers; ++i) {
    const int is_workspace = i == call.buffers - 1;
    const size_t alignment = is_workspace ? 64 : element_alignment(tensor_of(&call, i)->dtype);
    made[i] = guard(call.size[i], alignment, placement);
    call.data[i] = made[i].data;
    memset(call.data[i], 0xFF, call.size[i]); /* NaN, -1: what a call leaves out shows */
  }
  fill_inputs(&call);
  for (int i = 0; i < call.inputs; ++i)
    if (mprotect(made[i].first, made[i].whole, PROT_READ) != 0) die("can't protect", info->name, n);
  if (run(&call) != expected) die("another status between guard pages", info->name, n);
  if (expected == TFAOT_OK && !same_outputs(&call, reference))
    die("other bits between guard pages", info->name, n);
  for (int i = 0; i < call.buffers; ++i) {
    if (!is_intact(&made[i])) die("wrote beside a buffer", info->name, n);
    munmap(made[i].pages, made[i].whole + 2 * page);
  }
}

static long guard_pages(const struct tfaot_model_info *info, int64_t n) {
  long calls = 0;
  for (int level = next_level(info, -1); level >= 0; level = next_level(info, level)) {
    struct call reference = on_the_heap(info, n);
    const int status = run(&reference);
    /* Some models have no meaning for no rows, and say so. */
    if (status != TFAOT_OK && !(n == 0 && status == TFAOT_UNSUPPORTED_BATCH))
      die(tfaot_status_string(status), info->name, n);
    for (int placement = 0; placement < NUM_PLACEMENTS; ++placement, ++calls)
      check_guarded(&reference, status, (enum placement)placement);
    release(&reference);
  }
  return calls;
}

static long exact(const struct tfaot_model_info *info, int64_t n) {
  struct call call = prepare(info, n);
  unsigned checksum = 0;
  int status;
  for (int i = 0; i < call.buffers - 1; ++i) {
    call.data[i] = (byte *)malloc(call.size[i] > 0 ? call.size[i] : 1);
    if (call.data[i] == NULL) die("out of memory", info->name, n);
  }
  if (posix_memalign((void **)&call.data[call.buffers - 1], 64, call.size[call.buffers - 1] + 1))
    die("out of memory", info->name, n);
  fill_inputs(&call);
  status = run(&call);
  if (status == TFAOT_OK) {
    for (int i = call.inputs; i < call.buffers - 1; ++i)
      for (size_t k = 0; k < call.size[i]; ++k) checksum = checksum * 31 + call.data[i][k];
  } else if (n != 0) {
    die(tfaot_status_string(status), info->name, n);
  }
  /* valgrind speaks up here where a byte was never written. */
  if (checksum == 1) printf("%s", "");
  release(&call);
  return 1;
}

/* Stack: a call on a stack of its own, filled with a pattern; what differs was used. */

static _Alignas(64) byte stack[STACK_BYTES];
static ucontext_t outside, inside;
static const byte *frame; /* the stack pointer as the function is called */
static struct call measured;
static int (*callee)(int64_t, const void *const *, void *const *, void *);

static int probe(int64_t n, const void *const *in, void *const *out, void *workspace) {
  (void)n, (void)in, (void)out, (void)workspace;
  frame = (const byte *)__builtin_dwarf_cfa();
  return 0;
}

static void call_it(void) {
  const void *in[MOST_TENSORS + 1];
  void *out[MOST_TENSORS + 1];
  for (int i = 0; i < measured.inputs; ++i) in[i] = measured.data[i];
  for (int i = measured.inputs; i < measured.buffers - 1; ++i)
    out[i - measured.inputs] = measured.data[i];
  (void)callee(measured.n, in, out, measured.data[measured.buffers - 1]);
}

static void on_the_stack(void) {
  memset(stack, CANARY, STACK_BYTES);
  getcontext(&inside);
  inside.uc_stack.ss_sp = stack;
  inside.uc_stack.ss_size = STACK_BYTES;
  inside.uc_link = &outside;
  makecontext(&inside, call_it, 0);
  swapcontext(&outside, &inside);
}

static long stack_used(const struct tfaot_model_info *info, int64_t n) {
  long most = 0;
  for (int level = next_level(info, -1); level >= 0; level = next_level(info, level)) {
    const byte *low = stack;
    measured = on_the_heap(info, n);
    callee = probe;
    on_the_stack();
    callee = info->run;
    on_the_stack();
    while (low < frame && *low == CANARY) ++low;
    if (frame - low > most) most = (long)(frame - low);
    release(&measured);
  }
  return most;
}

static long resident_pages(void) {
  long size = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == NULL || fscanf(file, "%ld %ld", &size, &resident) != 2) die("no statm", "growth", 0);
  fclose(file);
  return resident;
}

static void growth(const struct tfaot_model_info *info, int64_t n, long calls) {
  struct call reference = on_the_heap(info, n), call = on_the_heap(info, n);
  struct mallinfo2 before;
  long pages;
  if (run(&reference) != TFAOT_OK || run(&call) != TFAOT_OK) die("refused", info->name, n);
  pages = resident_pages(); /* stdio has its buffers now */
  pages = resident_pages();
  before = mallinfo2();
  for (long i = 0; i < calls; ++i)
    if (run(&call) != TFAOT_OK) die("refused", info->name, n);
  if (mallinfo2().uordblks != before.uordblks) die("the heap grew", info->name, n);
  if (resident_pages() > pages) die("resident memory grew", info->name, n);
  if (!same_outputs(&call, &reference)) die("other bits after many calls", info->name, n);
  release(&call);
  release(&reference);
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  long calls = 0;
  if (argc < 3) return 2;
  for (int m = 0; m < NUM_MODELS; ++m) {
    const struct tfaot_model_info *info = models[m]();
    const int has_batch = info->batch_kind != TFAOT_BATCH_NONE;
    long most = 0;
    if (strcmp(mode, "growth") == 0) {
      growth(info, has_batch ? strtol(argv[2], NULL, 10) : 1, strtol(argv[3], NULL, 10));
      continue;
    }
    for (int k = 2; k < (has_batch ? argc : 3); ++k) {
      const int64_t n = has_batch ? strtol(argv[k], NULL, 10) : 1;
      if (strcmp(mode, "guard") == 0) calls += guard_pages(info, n);
      if (strcmp(mode, "exact") == 0) calls += exact(info, n);
      if (strcmp(mode, "stack") == 0) {
        const long used = stack_used(info, n);
        most = used > most ? used : most;
      }
    }
    if (strcmp(mode, "stack") == 0) printf("%s %ld %ld\n", info->name, most, (long)info->stack_bytes);
  }
  if (strcmp(mode, "stack") != 0) printf("done, %ld calls\n", calls);
  return 0;
}
