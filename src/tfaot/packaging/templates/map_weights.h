/*
 * Mapping files of weights, on POSIX systems. On Windows define TFAOT_MAP_WEIGHTS before this header
 * to have it, which includes <windows.h>; TFAOT_NO_MAP_WEIGHTS leaves it out everywhere.
 */
#if defined(__unix__) || defined(__APPLE__)
#if !defined(TFAOT_MAP_WEIGHTS) && !defined(TFAOT_NO_MAP_WEIGHTS)
#define TFAOT_MAP_WEIGHTS 1
#endif
#endif

#if defined(TFAOT_MAP_WEIGHTS) && !defined(TFAOT_MAP_WEIGHTS_DEFINED)
#define TFAOT_MAP_WEIGHTS_DEFINED
#if defined(_WIN32)
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

/* Maps a file read-only and hands it to `attach`; it stays mapped where that is TFAOT_OK. */
static inline int tfaot_map_weights(const char *path, int (*attach)(const void *, int64_t)) {
  HANDLE file, mapping;
  LARGE_INTEGER size;
  const void *data = 0;
  int status;
  file = CreateFileA(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, 0, OPEN_EXISTING,
                     FILE_ATTRIBUTE_NORMAL, 0);
  if (file == INVALID_HANDLE_VALUE) return TFAOT_UNREADABLE_WEIGHTS;
  if (!GetFileSizeEx(file, &size)) {
    CloseHandle(file);
    return TFAOT_UNREADABLE_WEIGHTS;
  }
  if (size.QuadPart == 0) {
    CloseHandle(file);
    return TFAOT_TRUNCATED_WEIGHTS;
  }
  mapping = CreateFileMappingA(file, 0, PAGE_READONLY, 0, 0, 0);
  CloseHandle(file);
  if (mapping == 0) return TFAOT_UNREADABLE_WEIGHTS;
  data = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
  CloseHandle(mapping);
  if (data == 0) return TFAOT_UNREADABLE_WEIGHTS;
  status = attach(data, (int64_t)size.QuadPart);
  if (status != TFAOT_OK) UnmapViewOfFile(data);
  return status;
}
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Maps a file read-only and hands it to `attach`; it stays mapped where that is TFAOT_OK. */
static inline int tfaot_map_weights(const char *path, int (*attach)(const void *, int64_t)) {
  struct stat facts;
  void *data;
  int status;
  const int file = open(path, O_RDONLY);
  if (file < 0) return TFAOT_UNREADABLE_WEIGHTS;
  if (fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    (void)close(file);
    return TFAOT_UNREADABLE_WEIGHTS;
  }
  if (facts.st_size == 0) {
    (void)close(file);
    return TFAOT_TRUNCATED_WEIGHTS;
  }
  data = mmap(0, (size_t)facts.st_size, PROT_READ, MAP_SHARED, file, 0);
  (void)close(file);
  if (data == MAP_FAILED) return TFAOT_UNREADABLE_WEIGHTS;
  status = attach(data, (int64_t)facts.st_size);
  if (status != TFAOT_OK) (void)munmap(data, (size_t)facts.st_size);
  return status;
}
#endif
#endif
