/* Runs models without libc, start files or a stack protector; x86-64 Linux. Exits 0 where right. */
#include "isa.h"
#include "net_run.h"
#include "tagger.h"

static _Alignas(64) unsigned char workspace[64 + NET_RUN_WORKSPACE_BYTES + TAGGER_WORKSPACE_BYTES];

static int check(const struct tfaot_model_info *info) {
  float x[16], y[16];
  const void *inputs[1];
  void *outputs[1];
  inputs[0] = x;
  outputs[0] = y;
  for (int i = 0; i < 16; ++i) x[i] = (float)i;
  if (info->num_inputs != 1 || info->workspace_bytes_for(2) > (int64_t)sizeof workspace) return 1;
  if (info->run(2, inputs, outputs, workspace) != TFAOT_OK) return 2;
  const int64_t width = info->inputs[0].dims[1].offset;
  for (int64_t i = 0; i < 2 * width; ++i)
    if (y[i] != x[i] * y[1]) return 3;
  return y[1] > 1 ? 0 : 4;
}

void _start(void);
void _start(void) {
  /* The stack is aligned to 16 bytes here, which a function called by nobody can't know. */
  __asm__ volatile("andq $-16, %%rsp\n\tcall run_and_exit" ::: "memory");
  __builtin_unreachable();
}

void run_and_exit(void);
void run_and_exit(void) {
  int code = check(net_run_info());
  if (code == 0) code = check(tagger_info());
  if (code == 0) code = check(isa_info());
  __asm__ volatile("syscall" ::"a"(60), "D"(code) : "rcx", "r11", "memory");
  __builtin_unreachable();
}
