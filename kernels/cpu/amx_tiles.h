// The tile registers of AMX: all eight are 16 rows of 64 bytes. Tile numbers are literals.
//
// With HEADRACE_EMULATE_AMX the same operations in plain C++, in the order of additions that
// Intel's manual gives, so that tests can prove the code around them on any machine.
#pragma once

#include <cstdint>

#ifndef HEADRACE_EMULATE_AMX

#include <immintrin.h>

#define HEADRACE_TILE_ZERO(tile) _tile_zero(tile)
#define HEADRACE_TILE_LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define HEADRACE_TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define HEADRACE_TILE_MULTIPLY(sum, rows, columns) _tile_dpbf16ps(sum, rows, columns)

static inline void configure_tiles() {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } const config;
  static_assert(sizeof config == 64, "the layout of the processor");
  _tile_loadconfig(&config);
}

static inline void release_tiles() { _tile_release(); }

#else

#define HEADRACE_TILE_ZERO(tile) \
  __builtin_memset(emulated_tiles[tile], 0, sizeof emulated_tiles[tile])
#define HEADRACE_TILE_LOAD(tile, from, stride) emulated_load(emulated_tiles[tile], from, stride)
#define HEADRACE_TILE_STORE(tile, to, stride) emulated_store(emulated_tiles[tile], to, stride)
#define HEADRACE_TILE_MULTIPLY(sum, rows, columns) \
  emulated_multiply(emulated_tiles[sum], emulated_tiles[rows], emulated_tiles[columns])

using EmulatedTile = uint32_t[16][16];
static thread_local EmulatedTile emulated_tiles[8];

static inline void configure_tiles() {
  __builtin_memset(emulated_tiles, 0xff, sizeof emulated_tiles);
}

static inline void release_tiles() { configure_tiles(); }

static inline void emulated_load(EmulatedTile& tile, const void* from, int64_t stride) {
  for (int row = 0; row < 16; ++row) {
    __builtin_memcpy(tile[row], static_cast<const char*>(from) + row * stride, 64);
  }
}

static inline void emulated_store(const EmulatedTile& tile, void* to, int64_t stride) {
  for (int row = 0; row < 16; ++row) {
    __builtin_memcpy(static_cast<char*>(to) + row * stride, tile[row], 64);
  }
}

static inline float emulated_float(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

static inline void emulated_multiply(EmulatedTile& sum, const EmulatedTile& a,
                                     const EmulatedTile& b) {
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 16; ++column) {
      float even = 0, odd = 0;
      for (int k = 0; k < 16; ++k) {
        even += emulated_float(a[row][k] << 16) * emulated_float(b[k][column] << 16);
        odd += emulated_float(a[row][k] & 0xffff0000u) * emulated_float(b[k][column] & 0xffff0000u);
      }
      const float result = emulated_float(sum[row][column]) + (even + odd);
      __builtin_memcpy(&sum[row][column], &result, sizeof result);
    }
  }
}

#endif
