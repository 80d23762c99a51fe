// Vectors of one instruction set: loads, stores, conversions, exp, tanh, transposition.
//
// Every isa_*.cpp defines HEADRACE_ISA (its namespace) and HEADRACE_WIDTH (floats in a register)
// and is compiled with the flags of its instruction set; the code is the same for all. It is
// written with the vector extensions of GCC and Clang. Nothing here may come from the C++ library:
// an inline function of the library compiled for AVX-512 could be the copy that the linker keeps
// for all.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "attention.h"

namespace headrace {
namespace HEADRACE_ISA {

constexpr int kWidth = HEADRACE_WIDTH;

typedef float Vec __attribute__((vector_size(kWidth * 4)));
typedef int32_t IntVec __attribute__((vector_size(kWidth * 4)));
typedef uint32_t BitVec __attribute__((vector_size(kWidth * 4)));
typedef uint16_t HalfVec __attribute__((vector_size(kWidth * 2)));

// The 16 upper bits of a float.
struct BFloat16 {
  uint16_t bits;
};

#define HEADRACE_INLINE static inline __attribute__((always_inline))

// Into the second-level cache. (A function that only prefetches must be inlined: GCC takes it for
// one without effect and drops the call.)
HEADRACE_INLINE void prefetch(const void* address) { __builtin_prefetch(address, 0, 2); }

template <class V, class T>
HEADRACE_INLINE V load_as(const T* from) {
  V v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

HEADRACE_INLINE Vec splat(float x) { return x - Vec{}; }  // x - 0 is x, -0 too

HEADRACE_INLINE Vec load(const float* from) { return load_as<Vec>(from); }

// GCC has no good code of its own for these two where registers are wide. (The forms with a mask
// are those that its headers do not warn about.)
HEADRACE_INLINE BitVec widened(HalfVec v) {
#if HEADRACE_WIDTH == 16
  return (BitVec)_mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)v);
#elif HEADRACE_WIDTH == 8
  return (BitVec)_mm256_cvtepu16_epi32((__m128i)v);
#else
  return __builtin_convertvector(v, BitVec);
#endif
}

HEADRACE_INLINE HalfVec narrowed(BitVec v) {
#if HEADRACE_WIDTH == 16
  return (HalfVec)_mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)v);
#else
  return __builtin_convertvector(v, HalfVec);
#endif
}

HEADRACE_INLINE Vec load(const BFloat16* from) {
  return (Vec)(widened(load_as<HalfVec>(from)) << 16);
}

HEADRACE_INLINE void store(float* to, Vec v) { __builtin_memcpy(to, &v, sizeof v); }

// Round to nearest, ties to even; NaN stays NaN. The upper halves are the result.
HEADRACE_INLINE BitVec rounded_bits(Vec v) {
  const BitVec bits = (BitVec)v;
  const BitVec rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return v == v ? rounded : (bits | 0x400000u);
}

HEADRACE_INLINE HalfVec to_bfloat16(Vec v) { return narrowed(rounded_bits(v) >> 16); }

HEADRACE_INLINE void store(BFloat16* to, Vec v) {
  const HalfVec half = to_bfloat16(v);
  __builtin_memcpy(to, &half, sizeof half);
}

// What v becomes when it is stored as T.
HEADRACE_INLINE Vec rounded_to(const float*, Vec v) { return v; }
HEADRACE_INLINE Vec rounded_to(const BFloat16*, Vec v) {
  return (Vec)(rounded_bits(v) & 0xffff0000u);
}

HEADRACE_INLINE IntVec iota() {
  IntVec v;
  for (int i = 0; i < kWidth; ++i) v[i] = i;
  return v;
}

HEADRACE_INLINE Vec maximum(Vec a, Vec b) { return a > b ? a : b; }

#if defined(__clang__)
#define HEADRACE_SHUFFLE(a, b, indices) shuffle_lanes(a, b, indices)
template <class V>
HEADRACE_INLINE V shuffle_lanes(V a, V b, IntVec indices) {
  V v;
  for (int i = 0; i < kWidth; ++i) {
    v[i] = indices[i] < kWidth ? a[indices[i]] : b[indices[i] - kWidth];
  }
  return v;
}
#else
#define HEADRACE_SHUFFLE(a, b, indices) __builtin_shuffle(a, b, indices)
#endif

// Full vectors of a row. Pairs of BFloat16 are taken apart, which is cheaper than widening them in
// order: each 2 * kWidth elements become a vector of the even ones and a vector of the odd ones.
// Callers that do not mind keep their columns in that order until store_vectors restores it.
template <int kCount>
HEADRACE_INLINE void load_vectors(const float* from, Vec (&to)[kCount]) {
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) to[i] = load(from + i * kWidth);
}

template <int kCount>
HEADRACE_INLINE void load_vectors(const BFloat16* from, Vec (&to)[kCount]) {
  static_assert(kCount % 2 == 0, "pairs come apart into two vectors");
#pragma GCC unroll 8
  for (int i = 0; i < kCount; i += 2) {
    const BitVec words = load_as<BitVec>(from + i * kWidth);
    to[i] = (Vec)(words << 16);
    to[i + 1] = (Vec)(words & 0xffff0000u);
  }
}

HEADRACE_INLINE void store_vectors(float* to, const Vec (&from)[2]) {
  store(to, from[0]);
  store(to + kWidth, from[1]);
}

HEADRACE_INLINE void store_vectors(BFloat16* to, const Vec (&from)[2]) {
  const BitVec words = (rounded_bits(from[0]) >> 16) | (rounded_bits(from[1]) & 0xffff0000u);
  __builtin_memcpy(to, &words, sizeof words);
}

// Reductions in a fixed tree.
HEADRACE_INLINE float reduce_sum(Vec v) {
  for (int step = kWidth / 2; step > 0; step /= 2) v += HEADRACE_SHUFFLE(v, v, iota() ^ step);
  return v[0];
}

HEADRACE_INLINE float reduce_maximum(Vec v) {
  for (int step = kWidth / 2; step > 0; step /= 2) {
    v = maximum(v, HEADRACE_SHUFFLE(v, v, iota() ^ step));
  }
  return v[0];
}

// A square of words, rows become columns.
HEADRACE_INLINE void transpose(BitVec (&rows)[kWidth]) {
  const IntVec lane = iota();
  const IntVec low = (lane >> 1) + (lane & 1) * kWidth;
  const IntVec high = low + kWidth / 2;
  BitVec next[kWidth];
#pragma GCC unroll 4
  for (int stage = 1; stage < kWidth; stage *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < kWidth / 2; ++i) {
      next[2 * i] = HEADRACE_SHUFFLE(rows[i], rows[i + kWidth / 2], low);
      next[2 * i + 1] = HEADRACE_SHUFFLE(rows[i], rows[i + kWidth / 2], high);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i) rows[i] = next[i];
  }
}

// x = n ln 2 + r with |r| <= ln 2 / 2; `power` is 2^n, `rest` is e^r - 1.
struct Exponential {
  Vec power, rest;
};

HEADRACE_INLINE Exponential reduce_exponential(Vec x) {
  const Vec rounding = splat(12582912.0f);  // 1.5 * 2^23: adding it leaves the nearest integer
  const Vec n = (x * 1.44269504f + rounding) - rounding;
  Vec r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Vec p = splat(1.0f / 720);
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  const Vec square = r * r;
  const IntVec exponent = (__builtin_convertvector(n, IntVec) + 127) << 23;
  return {(Vec)exponent, p * square + r};
}

// e^x, relative error about 2e-7; 0 below -87, where results would be denormal.
HEADRACE_INLINE Vec exponential(Vec x) {
  Vec bounded = x < -87.0f ? splat(-87.0f) : x;
  bounded = bounded > 88.0f ? splat(88.0f) : bounded;
  const Exponential e = reduce_exponential(bounded);
  const Vec result = e.power * e.rest + e.power;
  return x < -87.0f ? Vec{} : result;
}

// tanh x, relative error about 3e-7 also near 0.
HEADRACE_INLINE Vec hyperbolic_tangent(Vec x) {
  const Vec magnitude = (Vec)((BitVec)x & 0x7fffffffu);
  const BitVec sign = (BitVec)x & 0x80000000u;
  const Vec bounded = magnitude > 10.0f ? splat(10.0f) : magnitude;
  const Exponential e = reduce_exponential(bounded * 2.0f);
  const Vec minus_one = e.power - 1.0f;
  const Vec expm1 = e.power * e.rest + minus_one;  // e^(2x) - 1
  const Vec result = expm1 / (expm1 + 2.0f);
  return (Vec)((BitVec)result | sign);
}

}  // namespace HEADRACE_ISA
}  // namespace headrace
