// Products with weights in panels for one instruction set.
//
// Each element of the result is one sum, over the inputs in rising order, of products in float32
// that are rounded as the hardware's multiply-add does; only then come scale and bias. So its bits
// depend on its own row and weights alone: not on how many rows there are, nor on threads.
#pragma once

#include "panel_output.h"

namespace headrace {
namespace HEADRACE_ISA {

// Sums of kSumRows rows and kSumVectors vectors of outputs stay in registers: of 32 or of 16.
constexpr int kSumRows = 6;
constexpr int kSumVectors = kWidth == 16 ? 4 : 2;
constexpr int kSumWidth = kSumVectors * kWidth;
// Few rows take the weights as they are, more share a widened copy of some inputs: of 32 KiB, so
// that it stays in the first-level cache, or of 64 KiB where many rows make up for that by moving
// their sums half as often.
constexpr int64_t kFewRows = 4 * kSumRows, kManyRows = 64;
constexpr int64_t kInputsPerPiece = 256;

typedef int8_t SignedByteVec __attribute__((vector_size(kWidth)));

HEADRACE_INLINE Vec load(const int8_t* from) {
#if HEADRACE_WIDTH == 16
  return (Vec)_mm512_maskz_cvtepi32_ps(
      0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, (__m128i)load_as<SignedByteVec>(from)));
#elif HEADRACE_WIDTH == 8
  const auto bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return (Vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
#else
  return __builtin_convertvector(load_as<SignedByteVec>(from), Vec);
#endif
}

// Adds the products of some inputs to the sums of kRows rows [kRows, kPanelWidth]. The weights are
// those of a panel, from the first of these outputs on, as they are stored or widened; they come
// from far, or are in the cache.
template <int kRows, bool kFromFar, class W>
HEADRACE_INLINE void add_products(const float* x, int64_t x_stride, const W* weights,
                                  int64_t num_inputs, float* sums) {
  Vec sum[kRows][kSumVectors];
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
    load_vectors(sums + row * kPanelWidth, sum[row]);
  }
  for (int64_t k = 0; k < num_inputs; ++k) {
    Vec weight[kSumVectors];
    if (kFromFar) {
      const char* ahead = reinterpret_cast<const char*>(weights + k * kPanelWidth) + kBytesAhead;
      constexpr int64_t kBytes = kSumWidth * sizeof(W);
#pragma GCC unroll 4
      for (int64_t at = 0; at < kBytes; at += kCacheLine) __builtin_prefetch(ahead + at);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kSumVectors; ++i) weight[i] = load(weights + k * kPanelWidth + i * kWidth);
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      const Vec factor = splat(x[row * x_stride + k]);
#pragma GCC unroll 4
      for (int i = 0; i < kSumVectors; ++i) sum[row][i] += factor * weight[i];
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int i = 0; i < kSumVectors; ++i) {
      store(sums + row * kPanelWidth + i * kWidth, sum[row][i]);
    }
  }
}

// The same for all outputs of the panel.
template <int kRows, bool kFromFar, class W>
static void add_panel(const float* x, int64_t x_stride, const W* weights, int64_t num_inputs,
                      float* sums) {
  for (int64_t first = 0; first < kPanelWidth; first += kSumWidth) {
    add_products<kRows, kFromFar>(x, x_stride, weights + first, num_inputs, sums + first);
  }
}

// The same for up to kSumRows rows.
template <bool kFromFar, class W>
static void add_block(const float* x, int64_t x_stride, const W* weights, int64_t num_inputs,
                      int64_t num_rows, float* sums) {
  switch (num_rows) {
    case 1: add_panel<1, kFromFar>(x, x_stride, weights, num_inputs, sums); break;
    case 2: add_panel<2, kFromFar>(x, x_stride, weights, num_inputs, sums); break;
    case 3: add_panel<3, kFromFar>(x, x_stride, weights, num_inputs, sums); break;
    case 4: add_panel<4, kFromFar>(x, x_stride, weights, num_inputs, sums); break;
    case 5: add_panel<5, kFromFar>(x, x_stride, weights, num_inputs, sums); break;
    default: add_panel<kSumRows, kFromFar>(x, x_stride, weights, num_inputs, sums);
  }
}

// The same for any number of rows, in blocks that differ by one row at most; after the first one
// the weights are in the cache.
template <bool kFromFar, class W>
static void add_rows(const float* x, int64_t x_stride, const W* weights, int64_t num_inputs,
                     int64_t num_rows, float* sums) {
  const int64_t blocks = (num_rows + kSumRows - 1) / kSumRows;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t begin = num_rows * block / blocks;
    const int64_t count = num_rows * (block + 1) / blocks - begin;
    const float* from = x + begin * x_stride;
    float* to = sums + begin * kPanelWidth;
    if (kFromFar && block == 0) {
      add_block<true>(from, x_stride, weights, num_inputs, count, to);
    } else {
      add_block<false>(from, x_stride, weights, num_inputs, count, to);
    }
  }
}

// The sums of some inputs' products: weights of one float are used where they lie.
HEADRACE_INLINE void add_piece(const float* x, int64_t x_stride, const float* weights,
                               int64_t num_inputs, int64_t num_rows, float*, float* sums) {
  add_rows<true>(x, x_stride, weights, num_inputs, num_rows, sums);
}

// Others are widened once if many rows share them.
template <class W>
HEADRACE_INLINE void add_piece(const float* x, int64_t x_stride, const W* weights,
                               int64_t num_inputs, int64_t num_rows, float* widened, float* sums) {
  if (num_rows <= kFewRows) {
    add_rows<true>(x, x_stride, weights, num_inputs, num_rows, sums);
    return;
  }
  for (int64_t i = 0; i < num_inputs * kPanelWidth; i += kWidth) {
    store(widened + i, load(weights + i));
  }
  add_rows<false>(x, x_stride, widened, num_inputs, num_rows, sums);
}

template <class W>
static void panel_linear_item(const PanelLinearArguments& args, int64_t group, int64_t panel,
                              int64_t begin, int64_t end) {
  alignas(64) float sums[kRowsPerItem * kPanelWidth];
  alignas(64) float widened[kInputsPerPiece * kPanelWidth];
  const int64_t num_rows = end - begin;
  const auto* x = static_cast<const float*>(args.x);
  __builtin_memset(sums, 0, num_rows * kPanelWidth * sizeof(float));
  const int64_t panels = (args.num_outputs + kPanelWidth - 1) / kPanelWidth;
  const W* weights = static_cast<const W*>(args.panels) +
                     (group * panels + panel) * args.num_inputs * kPanelWidth;
  const int64_t step = num_rows < kManyRows ? kInputsPerPiece / 2 : kInputsPerPiece;
  for (int64_t first = 0; first < args.num_inputs; first += step) {
    const int64_t left = args.num_inputs - first;
    add_piece(x + begin * args.x_stride + first, args.x_stride, weights + first * kPanelWidth,
              left < step ? left : step, num_rows, widened, sums);
  }
  for (int64_t row = 0; row < num_rows; ++row) {
    store_scaled(args, group, panel, begin + row, sums + row * kPanelWidth);
  }
}

}  // namespace HEADRACE_ISA
}  // namespace headrace
