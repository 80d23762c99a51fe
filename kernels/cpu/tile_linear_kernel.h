// Products of BFloat16 rows with BFloat16 weights in panels, on AMX tiles.
//
// A tile is 16 rows of 64 bytes. One instruction multiplies 16 rows of 32 inputs with 16 pairs of
// inputs of 16 outputs and adds 16 x 16 sums of float32. Two tiles of rows times two of outputs keep
// four sums in registers and load as many tiles as they multiply, which the caches can feed.
//
// Each sum runs over the inputs in rising order, whatever rows lie beside its own, and is kept in
// float32 until it is rounded once: the bits of a result depend on its own row and weights alone.
#pragma once

#include "amx_tiles.h"
#include "panel_linear.h"
#include "vector.h"

namespace headrace {
namespace HEADRACE_ISA {

constexpr int64_t kTileNumbers = kTileRows * kInputsPerTile;  // BFloat16 in a tile
// Rows and outputs that are computed together, two tiles of each. The outputs are half of a panel,
// whose weights lie together.
constexpr int64_t kRowsPerBlock = 2 * kTileRows, kOutputsPerBlock = 2 * kTileRows;
constexpr int64_t kStepNumbers = 2 * kTileNumbers;  // of 32 inputs in a block
constexpr int64_t kStepBytes = kStepNumbers * sizeof(BFloat16);
// Of many rows, a piece of a block's weights stays in the first-level cache while they pass by:
// 16 KiB of 48, beside as much of the rows.
#ifndef PIECE
#define PIECE 8
#endif
constexpr int64_t kTilesPerPiece = PIECE;
// By how much what comes next is fetched ahead: weights into the second-level cache, rows, which are
// there, into the first.
#ifndef WAHEAD
#define WAHEAD 8192
#endif
#ifndef RAHEAD
#define RAHEAD 0
#endif
constexpr int64_t kWeightsAhead = WAHEAD, kRowsAhead = RAHEAD, kLine = 64;

// How many times 32 inputs of a block are computed at once.
constexpr int64_t tiles_per_piece(int64_t num_rows, int64_t tiles) {
  return num_rows <= kRowsPerBlock || tiles < kTilesPerPiece ? tiles : kTilesPerPiece;
}

// What is fetched while a block is computed.
struct Ahead {
  const char* from;
  int64_t lines_per_step;
};

// sums [32, 32] (+)= rows x weights, of kRowTiles * 16 rows; both have 32 inputs after the other, and
// for each, two tiles.
template <int kRowTiles>
static void add_block(const BFloat16* rows, const BFloat16* weights, int64_t tiles, bool is_first,
                      Ahead ahead, float* sums) {
  constexpr int64_t kStride = kOutputsPerBlock * sizeof(float);
  float* below = sums + kTileRows * kOutputsPerBlock;
  if (is_first) {
    HEADRACE_TILE_ZERO(0);
    HEADRACE_TILE_ZERO(1);
    HEADRACE_TILE_ZERO(2);
    HEADRACE_TILE_ZERO(3);
  } else {
    HEADRACE_TILE_LOAD(0, sums, kStride);
    HEADRACE_TILE_LOAD(1, sums + kTileRows, kStride);
    if (kRowTiles > 1) {
      HEADRACE_TILE_LOAD(2, below, kStride);
      HEADRACE_TILE_LOAD(3, below + kTileRows, kStride);
    }
  }
  for (int64_t tile = 0; tile < tiles; ++tile) {
    for (int64_t line = 0; line < ahead.lines_per_step; ++line) {
      prefetch(ahead.from);
      ahead.from += kLine;
    }
    if (kRowsAhead) {
      const char* ahead = reinterpret_cast<const char*>(rows) + kRowsAhead;
#pragma GCC unroll 32
      for (int64_t at = 0; at < kStepNumbers * 2; at += kLine) __builtin_prefetch(ahead + at);
    }
    HEADRACE_TILE_LOAD(6, weights, kLine);
    HEADRACE_TILE_LOAD(7, weights + kTileNumbers, kLine);
    HEADRACE_TILE_LOAD(4, rows, kLine);
    HEADRACE_TILE_MULTIPLY(0, 4, 6);
    HEADRACE_TILE_MULTIPLY(1, 4, 7);
    if (kRowTiles > 1) {
      HEADRACE_TILE_LOAD(5, rows + kTileNumbers, kLine);
      HEADRACE_TILE_MULTIPLY(2, 5, 6);
      HEADRACE_TILE_MULTIPLY(3, 5, 7);
    }
    rows += kStepNumbers;
    weights += kStepNumbers;
  }
  HEADRACE_TILE_STORE(0, sums, kStride);
  HEADRACE_TILE_STORE(1, sums + kTileRows, kStride);
  if (kRowTiles > 1) {
    HEADRACE_TILE_STORE(2, below, kStride);
    HEADRACE_TILE_STORE(3, below + kTileRows, kStride);
  }
}

// Where the results of a block go: `stride` numbers from one row to the next.
struct BlockOutput {
  BFloat16* to;
  int64_t stride, num_rows, num_outputs;
  const float* bias;  // or null

  void fetch() const {
    for (int64_t row = 0; row < num_rows; ++row) __builtin_prefetch(to + row * stride, 1);
  }

  void store(const float* sums) const {
    for (int64_t row = 0; row < num_rows; ++row, sums += kOutputsPerBlock) {
      BFloat16* at = to + row * stride;
      if (num_outputs == kOutputsPerBlock && bias == nullptr) {
        HEADRACE_ISA::store(at, load(sums));
        HEADRACE_ISA::store(at + kWidth, load(sums + kWidth));
        continue;
      }
      float padded[kOutputsPerBlock] = {};
      BFloat16 made[kOutputsPerBlock];
      for (int64_t i = 0; i < num_outputs; ++i) padded[i] = sums[i] + (bias ? bias[i] : 0.0f);
      HEADRACE_ISA::store(made, load(padded));
      HEADRACE_ISA::store(made + kWidth, load(padded + kWidth));
      __builtin_memcpy(at, made, num_outputs * sizeof(BFloat16));
    }
  }
};

// One block of outputs for the rows of an item; weights are those of the block.
static void tile_linear_block(const PanelLinearArguments& args, const BFloat16* rows, int64_t group,
                              int64_t first_output, const BFloat16* weights, int64_t begin,
                              int64_t end, float* sums) {
  const int64_t tiles = args.num_inputs / kInputsPerTile, num_rows = end - begin;
  const int64_t step = tiles_per_piece(num_rows, tiles);
  const int64_t blocks = (num_rows + kRowsPerBlock - 1) / kRowsPerBlock;
  // What comes next is fetched evenly while this piece is computed.
  const int64_t lines = (kStepBytes / kLine + blocks - 1) / blocks;
  const int64_t left = args.num_outputs - first_output;
  BlockOutput output = {
      static_cast<BFloat16*>(args.output) + begin * args.num_outputs + first_output,
      args.num_outputs, 0, left < kOutputsPerBlock ? left : kOutputsPerBlock,
      args.bias == nullptr ? nullptr : args.bias + group * args.num_outputs + first_output};
  for (int64_t first = 0; first < tiles; first += step) {
    const int64_t count = tiles - first < step ? tiles - first : step;
    const bool is_last = first + count == tiles;
    const BFloat16* piece = weights + first * kStepNumbers;
    const char* next = reinterpret_cast<const char*>(piece) +
                       (blocks == 1 ? kWeightsAhead : count * kStepBytes);
    for (int64_t row = 0; row < num_rows; row += kRowsPerBlock) {
      float* to = sums + row * kOutputsPerBlock;
      BlockOutput made = output;
      made.to += row * made.stride;
      made.num_rows = num_rows - row < kRowsPerBlock ? num_rows - row : kRowsPerBlock;
      if (is_last) made.fetch();
      const Ahead ahead = {next + row / kRowsPerBlock * count * lines * kLine, lines};
      if (made.num_rows > kTileRows) {
        add_block<2>(rows, piece, count, first == 0, ahead, to);
      } else {
        add_block<1>(rows, piece, count, first == 0, ahead, to);
      }
      if (is_last) made.store(to);
      rows += count * kStepNumbers;
    }
  }
}

// One panel of a group for the rows [begin, end), whose tiles are `row_tiles`.
static void tile_linear_item(const PanelLinearArguments& args, const uint16_t* row_tiles,
                             int64_t group, int64_t panel, int64_t begin, int64_t end) {
  alignas(64) float sums[kMostTiledRows * kOutputsPerBlock];
  const auto* rows = reinterpret_cast<const BFloat16*>(row_tiles);
  configure_tiles();
  const int64_t panels = (args.num_outputs + kPanelWidth - 1) / kPanelWidth;
  const BFloat16* weights = static_cast<const BFloat16*>(args.panels) +
                            (group * panels + panel) * args.num_inputs * kPanelWidth;
  const int64_t past = args.num_outputs - panel * kPanelWidth;
  for (int64_t first = 0; first < kPanelWidth && first < past; first += kOutputsPerBlock) {
    tile_linear_block(args, rows, group, panel * kPanelWidth + first,
                      weights + first * args.num_inputs, begin, end, sums);
  }
  release_tiles();
}

// Rows [begin, end) in the order in which they are multiplied: pieces of inputs, in each, blocks of
// 32 rows, in each, 32 inputs after the other, of which two tiles. Rows beyond the last are zero.
static void tile_rows(const PanelLinearArguments& args, int64_t begin, int64_t end, uint16_t* to) {
  const int64_t tiles = args.num_inputs / kInputsPerTile;
  const int64_t step = tiles_per_piece(end - begin, tiles);
  const auto* x = static_cast<const uint16_t*>(args.x);
  for (int64_t first = 0; first < tiles; first += step) {
    const int64_t count = tiles - first < step ? tiles - first : step;
    for (int64_t block = begin; block < end; block += kRowsPerBlock) {
      for (int64_t row = 0; row < kRowsPerBlock; ++row) {
        uint16_t* at = to + row * kInputsPerTile;
        const uint16_t* from = x + (block + row) * args.x_stride + first * kInputsPerTile;
        for (int64_t tile = 0; tile < count; ++tile) {
          if (block + row < end) {
            __builtin_memcpy(at, from, kLine);
          } else {
            __builtin_memset(at, 0, kLine);
          }
          at += kStepNumbers;
          from += kInputsPerTile;
        }
      }
      to += count * kStepNumbers;
    }
  }
}

}  // namespace HEADRACE_ISA
}  // namespace headrace
