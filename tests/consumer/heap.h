/*
 * Counts what a program asks of the heap and of the system's memory: the functions here take the
 * place of the C library's, which operator new calls too. For glibc, linked dynamically.
 */
#ifndef HEAP_H
#define HEAP_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static volatile long heap_calls = 0;

#ifdef __cplusplus
extern "C" {
#define NOEXCEPT noexcept
#else
#define NOEXCEPT
#endif

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *old);

void *malloc(size_t size) NOEXCEPT {
  heap_calls = heap_calls + 1;
  return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) NOEXCEPT {
  heap_calls = heap_calls + 1;
  return __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) NOEXCEPT {
  heap_calls = heap_calls + 1;
  return __libc_realloc(old, size);
}
void *aligned_alloc(size_t alignment, size_t size) NOEXCEPT {
  heap_calls = heap_calls + 1;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void **place, size_t alignment, size_t size) NOEXCEPT {
  heap_calls = heap_calls + 1;
  *place = __libc_memalign(alignment, size);
  return *place != NULL ? 0 : ENOMEM;
}
void free(void *old) NOEXCEPT {
  heap_calls = heap_calls + 1;
  __libc_free(old);
}
void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset) NOEXCEPT {
  heap_calls = heap_calls + 1;
  return (void *)syscall(SYS_mmap, at, size, protection, flags, file, offset); /* NOLINT */
}
int munmap(void *at, size_t size) NOEXCEPT {
  heap_calls = heap_calls + 1;
  return (int)syscall(SYS_munmap, at, size);
}

#ifdef __cplusplus
}
#endif
#endif
