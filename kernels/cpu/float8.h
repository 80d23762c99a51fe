// 8-bit floats of the KV cache (e4m3fn: sign, four bits of exponent with bias 7, three of mantissa;
// no infinities, all other bits set is NaN): widening them, rounding to them.
#pragma once

#include "vector.h"

namespace headrace {
namespace HEADRACE_ISA {

struct Float8 {
  uint8_t bits;
};

// Rows of 8-bit floats are widened in order, so the query vectors that meet them, and the output,
// keep their order too, unlike BFloat16 beside BFloat16 (see load_vectors).
struct OrderedBFloat16 {
  BFloat16 value;
};

typedef uint8_t ByteVec __attribute__((vector_size(kWidth)));

#if HEADRACE_WIDTH == 4

struct Float8Values {
  float of[256];

  constexpr Float8Values() : of() {
    for (int code = 0; code < 256; ++code) {
      const int exponent = code >> 3 & 15, mantissa = code & 7;
      float size = static_cast<float>(exponent == 0 ? mantissa : 8 + mantissa) / 512;
      for (int i = 1; i < exponent; ++i) size *= 2;
      if ((code & 127) == 127) size = __builtin_nanf("");
      of[code] = code < 128 ? size : -size;
    }
  }
};

static constexpr Float8Values kFloat8Values;

HEADRACE_INLINE void widen_chunk(const Float8* from, Vec (&to)[2]) {
  float values[2 * kWidth];
  for (int i = 0; i < 2 * kWidth; ++i) values[i] = kFloat8Values.of[from[i].bits];
  to[0] = load(values);
  to[1] = load(values + kWidth);
}

#else

// By way of 16-bit floats: exponent and mantissa moved to where these have theirs are a number 256
// times too small, denormal ones too. NaN alone carries into the exponent's highest bit when one is
// added to its mantissa; with that bit set it is one of the NaN of 16-bit floats.
HEADRACE_INLINE void widen_chunk(const Float8* from, Vec (&to)[2]) {
  typedef uint16_t Halves __attribute__((vector_size(kWidth * 4)));
#if HEADRACE_WIDTH == 16
  const __m512i words = _mm512_maskz_cvtepi8_epi16(~0u, load_as<__m256i>(from));
#else
  const __m256i words = _mm256_cvtepi8_epi16(load_as<__m128i>(from));
#endif
  const Halves moved = (Halves)words << 7;  // the sign in both upper bits
  const Halves halves = moved ^ ((moved + 0x80) & 0x4000);
#if HEADRACE_WIDTH == 16
  const __m256i low = _mm512_maskz_extracti64x4_epi64(0xf, (__m512i)halves, 0);
  const __m256i high = _mm512_maskz_extracti64x4_epi64(0xf, (__m512i)halves, 1);
  to[0] = (Vec)_mm512_maskz_cvtph_ps(0xffff, low) * 256.0f;
  to[1] = (Vec)_mm512_maskz_cvtph_ps(0xffff, high) * 256.0f;
#else
  to[0] = (Vec)_mm256_cvtph_ps(_mm256_castsi256_si128((__m256i)halves)) * 256.0f;
  to[1] = (Vec)_mm256_cvtph_ps(_mm256_extracti128_si256((__m256i)halves, 1)) * 256.0f;
#endif
}

#endif

template <int kCount>
HEADRACE_INLINE void load_vectors(const Float8* from, Vec (&to)[kCount]) {
  static_assert(kCount % 2 == 0, "two vectors at a time");
#pragma GCC unroll 8
  for (int i = 0; i < kCount; i += 2) {
    Vec chunk[2];
    widen_chunk(from + i * kWidth, chunk);
    to[i] = chunk[0];
    to[i + 1] = chunk[1];
  }
}

HEADRACE_INLINE void load_vectors(const OrderedBFloat16* from, Vec (&to)[2]) {
  to[0] = load(&from->value);
  to[1] = load(&from[kWidth].value);
}

HEADRACE_INLINE void store_vectors(OrderedBFloat16* to, const Vec (&from)[2]) {
  store(&to->value, from[0]);
  store(&to[kWidth].value, from[1]);
}

// To nearest, ties to even; what is beyond +-448 becomes that; NaN stays NaN.
HEADRACE_INLINE ByteVec to_float8(Vec v) {
  const BitVec bits = (BitVec)v, magnitude = bits & 0x7fffffffu;
  // 20 bits of the mantissa go, and 120 of the exponent's bias, which stands above 3 bits.
  const BitVec normal = ((magnitude + 0x7ffffu + ((magnitude >> 20) & 1u)) >> 20) - 120u * 8;
  // Below 2^-6 there are multiples of 2^-9 only: what a float near 2^14 (0x46800000) can tell.
  const BitVec small = (BitVec)((Vec)magnitude + 16384.0f) - 0x46800000u;
  IntVec code = (IntVec)((IntVec)magnitude < 0x3c800000 ? small : normal);
  code = code < 0x7e ? code : IntVec{} + 0x7e;
  code = (IntVec)magnitude > 0x7f800000 ? IntVec{} + 0x7f : code;
  const BitVec result = (BitVec)code | ((bits >> 24) & 0x80u);
#if HEADRACE_WIDTH == 16
  return (ByteVec)_mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)result);
#else
  return __builtin_convertvector(result, ByteVec);
#endif
}

}  // namespace HEADRACE_ISA
}  // namespace headrace
