// Products of rounded rows with weights in panels, by VPDPBUSD: four products of a byte with and
// one without a sign are added to each 32-bit integer.
//
// Within kInputsPerScale inputs sums are exact; those of the pieces are added in rising order, in
// float32. So the bits of a result depend on its own row and weights alone, as everywhere here.
#pragma once

#include "panel_output.h"

namespace headrace {
namespace HEADRACE_ISA {

constexpr int kRoundedRows = 6, kRoundedVectors = 4;  // sums in 24 of 32 registers
constexpr int64_t kInputsPerWord = 4;
constexpr int64_t kWordsPerScale = kInputsPerScale / kInputsPerWord;
constexpr int64_t kWordBytes = kPanelWidth * kInputsPerWord;
// So that a piece of a panel stays in the first-level cache while all rows pass by.
constexpr int64_t kScalesPerPiece = 3;
constexpr int32_t kOffset = 128;
// Of numbers that are all smaller, 127 over the largest is infinite: they are taken for zeros.
constexpr float kSmallest = 4e-37f;
constexpr __mmask16 kAll = 0xffff;

HEADRACE_INLINE __mmask16 some(int64_t count) {
  return count < kWidth ? (__mmask16)((1u << count) - 1) : kAll;
}

// `mask`: which of the numbers exist; the others count as zero.
HEADRACE_INLINE Vec load_some(const float* from, __mmask16 mask) {
  return _mm512_maskz_loadu_ps(mask, from);
}

// Rounds up to kInputsPerScale inputs of a row. What is not finite makes the scale a NaN.
static void round_piece(const float* x, int64_t count, int8_t* integers, float* scale,
                        int32_t* sum) {
  const __m512 magnitude = (__m512)_mm512_set1_epi32(0x7fffffff);
  Vec largest = {}, not_finite = {};
  for (int64_t k = 0; k < count; k += kWidth) {
    const __mmask16 mask = some(count - k);
    const Vec value = load_some(x + k, mask);
    largest = _mm512_maskz_max_ps(kAll, largest, _mm512_and_ps(value, magnitude));
    not_finite += value * 0.0f;
  }
  float most = 0, poison = 0;
  for (int lane = 0; lane < kWidth; ++lane) {
    most = largest[lane] > most ? largest[lane] : most;
    poison += not_finite[lane];
  }
  const Vec per_unit = splat(most > kSmallest ? 127.0f / most : 0.0f);
  IntVec total = {};
  for (int64_t k = 0; k < count; k += kWidth) {
    const __mmask16 mask = some(count - k);
    const Vec scaled = load_some(x + k, mask) * per_unit;
    // What is no number would become an integer that overflows the sum.
    const __mmask16 numbers = _mm512_cmp_ps_mask(scaled, scaled, _CMP_ORD_Q);
    const __m512i rounded = _mm512_maskz_cvtps_epi32(numbers, scaled);
    _mm512_mask_cvtepi32_storeu_epi8(integers + k, mask, rounded);
    total += (IntVec)rounded;
  }
  *scale = most / 127.0f + poison;
  *sum = 0;
  for (int lane = 0; lane < kWidth; ++lane) *sum += total[lane];
}

static void round_rows(const PanelLinearArguments& args, const RoundedRows& rows, int64_t begin,
                       int64_t end) {
  const int64_t num_inputs = args.num_inputs, pieces = num_scales(num_inputs);
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t first = piece * kInputsPerScale, left = num_inputs - first;
      const int64_t at = row * pieces + piece;
      round_piece(static_cast<const float*>(args.x) + row * args.x_stride + first,
                  left < kInputsPerScale ? left : kInputsPerScale,
                  rows.integers + row * num_inputs + first, rows.scales + at, rows.sums + at);
    }
  }
}

HEADRACE_INLINE int32_t four_inputs(const int8_t* from) {
  int32_t word;
  __builtin_memcpy(&word, from, sizeof word);
  return word;
}

// Some inputs of some rows, and the weights of a panel for these inputs.
struct RoundedBlock {
  const int8_t* x;          // rows num_inputs apart, as in RoundedRows
  const float* scales;      // those of a row num_scales apart, as are
  const int32_t* row_sums;  // the sums
  const uint8_t* weights;
  int64_t num_inputs, num_scales, block_inputs;
  float* sums;  // [rows, kPanelWidth], to be added to
};

template <int kRows, bool kFromFar>
static void add_rounded(const RoundedBlock& block) {
  for (int64_t first = 0, piece = 0; first < block.block_inputs; first += kInputsPerScale, ++piece) {
    const int64_t left = block.block_inputs - first;
    const int64_t words = left < kInputsPerScale ? left / kInputsPerWord : kWordsPerScale;
    __m512i sum[kRows][kRoundedVectors];
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      const int32_t row_sum = block.row_sums[row * block.num_scales + piece];
#pragma GCC unroll 4
      for (int i = 0; i < kRoundedVectors; ++i) sum[row][i] = _mm512_set1_epi32(-kOffset * row_sum);
    }
    const uint8_t* from = block.weights + first * kPanelWidth;
    const int8_t* inputs = block.x + first;
    for (int64_t word = 0; word < words; ++word) {
      __m512i weight[kRoundedVectors];
#pragma GCC unroll 4
      for (int i = 0; i < kRoundedVectors; ++i) {
        if (kFromFar) __builtin_prefetch(from + kBytesAhead + i * kCacheLine);
        weight[i] = _mm512_loadu_si512(from + i * kCacheLine);
      }
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
        const __m512i input = _mm512_set1_epi32(four_inputs(inputs + row * block.num_inputs));
#pragma GCC unroll 4
        for (int i = 0; i < kRoundedVectors; ++i) {
          sum[row][i] = _mm512_dpbusd_epi32(sum[row][i], weight[i], input);
        }
      }
      from += kWordBytes;
      inputs += kInputsPerWord;
    }
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      const Vec scale = splat(block.scales[row * block.num_scales + piece]);
#pragma GCC unroll 4
      for (int i = 0; i < kRoundedVectors; ++i) {
        float* to = block.sums + row * kPanelWidth + i * kWidth;
        store(to, load(to) + (Vec)_mm512_maskz_cvtepi32_ps(kAll, sum[row][i]) * scale);
      }
    }
  }
}

template <bool kFromFar>
static void add_rounded_rows(int64_t num_rows, const RoundedBlock& block) {
  switch (num_rows) {
    case 1: add_rounded<1, kFromFar>(block); break;
    case 2: add_rounded<2, kFromFar>(block); break;
    case 3: add_rounded<3, kFromFar>(block); break;
    case 4: add_rounded<4, kFromFar>(block); break;
    case 5: add_rounded<5, kFromFar>(block); break;
    default: add_rounded<kRoundedRows, kFromFar>(block);
  }
}

static void rounded_linear_item(const PanelLinearArguments& args, const RoundedRows& rows,
                                int64_t group, int64_t panel, int64_t begin, int64_t end) {
  alignas(64) float sums[kRowsPerItem * kPanelWidth];
  const int64_t num_rows = end - begin, num_inputs = args.num_inputs;
  const int64_t num_pieces = num_scales(num_inputs);
  __builtin_memset(sums, 0, num_rows * kPanelWidth * sizeof(float));
  const int64_t panels = (args.num_outputs + kPanelWidth - 1) / kPanelWidth;
  const uint8_t* weights = static_cast<const uint8_t*>(args.panels) +
                           (group * panels + panel) * num_inputs * kPanelWidth;
  const int64_t blocks = (num_rows + kRoundedRows - 1) / kRoundedRows;
  for (int64_t piece = 0; piece < num_pieces; piece += kScalesPerPiece) {
    const int64_t first = piece * kInputsPerScale;
    const int64_t left = num_inputs - first, most = kScalesPerPiece * kInputsPerScale;
    const int64_t count = left < most ? left : most;
    for (int64_t index = 0; index < blocks; ++index) {
      const int64_t from = num_rows * index / blocks;
      const int64_t in_block = num_rows * (index + 1) / blocks - from;
      const int64_t row = begin + from, scale = row * num_pieces + piece;
      const RoundedBlock block = {rows.integers + row * num_inputs + first, rows.scales + scale,
                                  rows.sums + scale, weights + first * kPanelWidth,
                                  num_inputs, num_pieces, count, sums + from * kPanelWidth};
      if (index == 0) {
        add_rounded_rows<true>(in_block, block);
      } else {
        add_rounded_rows<false>(in_block, block);
      }
    }
  }
  for (int64_t row = 0; row < num_rows; ++row) {
    store_scaled(args, group, panel, begin + row, sums + row * kPanelWidth);
  }
}

}  // namespace HEADRACE_ISA
}  // namespace headrace
