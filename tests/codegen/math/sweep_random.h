/* Random numbers by their position, so that any block of arguments can be made by itself. */

#ifndef SWEEP_RANDOM_H
#define SWEEP_RANDOM_H

#include <stdint.h>

enum { BLOCK = 4096, KERNELS = 8 };

/* The generator splitmix64, at a position of its sequence. */
static inline uint64_t random_at(uint64_t position) {
  uint64_t z = position * 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

#endif
