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
constexpr int64_t kTilesPerPiece = 8;
// By how much weights are fetched ahead into the second-level cache.
constexpr int64_t kWeightsAhead = 8192, kLine = 64;
// Sums of a block lie in four tiles: two of the first 16 rows, two of the others.
constexpr int64_t kBlockSums = kRowsPerBlock * kOutputsPerBlock, kTileSums = kBlockSums / 4;
// Rows of results that are made beside 32 inputs of the next block, from its third 32 on: by then
// the sums have left the tiles.
constexpr int64_t kResultsPerStep = 6, kFirstResults = 2;

// How many times 32 inputs of a block are computed at once.
constexpr int64_t tiles_per_piece(int64_t num_rows, int64_t tiles) {
  return num_rows <= kRowsPerBlock || tiles < kTilesPerPiece ? tiles : kTilesPerPiece;
}

// What is fetched while a block is computed.
struct Ahead {
  const char* from;
  int64_t lines_per_step;
};

// Results of a product that exceed this go past the caches, which they would leave before they are
// read: nothing waits until their lines have been fetched.
constexpr int64_t kStreamedBytes = 4 << 20;

// 32 results, a line of the caches.
HEADRACE_INLINE void stream_line(BFloat16* to, Vec left, Vec right) {
  const HalfVec halves[2] = {to_bfloat16(left), to_bfloat16(right)};
#ifndef HEADRACE_EMULATE_AMX
  __m512i line;
  __builtin_memcpy(&line, halves, sizeof line);
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), line);
#else
  __builtin_memcpy(to, halves, sizeof halves);
#endif
}

// Where the results of a block go: `stride` numbers from one row to the next.
struct BlockOutput {
  BFloat16* to;
  int64_t stride, num_rows, num_outputs;
  const float* bias;  // or null
  bool is_streamed;   // rows begin at lines of the caches

  // Of rows [begin, end), which may lie beyond the last.
  void store(const float* sums, int64_t begin, int64_t end) const {
    for (int64_t row = begin; row < end && row < num_rows; ++row) {
      const float* left = sums + row / kTileRows * 2 * kTileSums + row % kTileRows * kTileRows;
      const float* right = left + kTileSums;
      BFloat16* at = to + row * stride;
      if (is_streamed) {
        stream_line(at, load(left), load(right));
        continue;
      }
      if (num_outputs == kOutputsPerBlock && bias == nullptr) {
        HEADRACE_ISA::store(at, load(left));
        HEADRACE_ISA::store(at + kWidth, load(right));
        continue;
      }
      float padded[kOutputsPerBlock] = {};
      BFloat16 made[kOutputsPerBlock];
      for (int64_t i = 0; i < num_outputs; ++i) {
        padded[i] = (i < kTileRows ? left[i] : right[i - kTileRows]) + (bias ? bias[i] : 0.0f);
      }
      HEADRACE_ISA::store(made, load(padded));
      HEADRACE_ISA::store(made + kWidth, load(padded + kWidth));
      __builtin_memcpy(at, made, num_outputs * sizeof(BFloat16));
    }
  }
};

// What is left to do for a block while the next one is computed: its sums of the second 16 rows are
// still in tiles, and if they are the last, results are to be made of all.
struct Unfinished {
  float* sums;
  bool has_second;
  BlockOutput output;  // of no rows unless the sums are complete

  void store_second() {
    if (has_second) {
      HEADRACE_TILE_STORE(2, sums + 2 * kTileSums, kLine);
      HEADRACE_TILE_STORE(3, sums + 3 * kTileSums, kLine);
    }
    has_second = false;
  }
};

// to [32, 32] = from (or 0) + rows x weights, of kRowTiles * 16 rows; both have 32 inputs after the
// other, and for each, two tiles. Half of the sums of the block before are stored after this one's
// first products: the processor multiplies while they are on their way.
template <int kRowTiles>
static void add_block(const BFloat16* rows, const BFloat16* weights, int64_t steps,
                      const float* from, float* to, const BlockOutput& output, Ahead ahead,
                      Unfinished& before) {
  const auto fetch = [&ahead] {
    for (int64_t line = 0; line < ahead.lines_per_step; ++line) {
      prefetch(ahead.from);
      ahead.from += kLine;
    }
  };
  // The first 32 inputs, apart from the loop, whose branches must stay few.
  fetch();
  HEADRACE_TILE_LOAD(6, weights, kLine);
  HEADRACE_TILE_LOAD(7, weights + kTileNumbers, kLine);
  HEADRACE_TILE_LOAD(4, rows, kLine);
  if (from == nullptr) {
    HEADRACE_TILE_ZERO(0);
    HEADRACE_TILE_ZERO(1);
  } else {
    HEADRACE_TILE_LOAD(0, from, kLine);
    HEADRACE_TILE_LOAD(1, from + kTileSums, kLine);
  }
  HEADRACE_TILE_MULTIPLY(0, 4, 6);
  HEADRACE_TILE_MULTIPLY(1, 4, 7);
  before.store_second();
  if (kRowTiles > 1) {
    if (from == nullptr) {
      HEADRACE_TILE_ZERO(2);
      HEADRACE_TILE_ZERO(3);
    } else {
      HEADRACE_TILE_LOAD(2, from + 2 * kTileSums, kLine);
      HEADRACE_TILE_LOAD(3, from + 3 * kTileSums, kLine);
    }
    HEADRACE_TILE_LOAD(5, rows + kTileNumbers, kLine);
    HEADRACE_TILE_MULTIPLY(2, 5, 6);
    HEADRACE_TILE_MULTIPLY(3, 5, 7);
  }
  int64_t made = 0;
  for (int64_t step = 1; step < steps; ++step) {
    rows += kStepNumbers;
    weights += kStepNumbers;
    fetch();
    if (step >= kFirstResults && made < before.output.num_rows) {
      before.output.store(before.sums, made, made + kResultsPerStep);
      made += kResultsPerStep;
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
  }
  HEADRACE_TILE_STORE(0, to, kLine);
  HEADRACE_TILE_STORE(1, to + kTileSums, kLine);
  before.output.store(before.sums, made, kRowsPerBlock);  // if the steps were too few
  before = {to, kRowTiles > 1, output};
}

// Sums of the rows of an item and of two blocks that are complete: one is computed while results
// are made of the other.
struct ItemSums {
  alignas(64) float of_rows[kMostTiledRows * kOutputsPerBlock];
  float complete[2][kBlockSums];
};

// One block of outputs for the rows of an item; weights are those of the block.
static void tile_linear_block(const PanelLinearArguments& args, const BFloat16* rows, int64_t group,
                              int64_t first_output, const BFloat16* weights, int64_t begin,
                              int64_t end, ItemSums& sums, Unfinished& before) {
  const int64_t tiles = args.num_inputs / kInputsPerTile, num_rows = end - begin;
  const int64_t step = tiles_per_piece(num_rows, tiles);
  const int64_t blocks = (num_rows + kRowsPerBlock - 1) / kRowsPerBlock;
  // What comes next is fetched evenly while this piece is computed.
  const int64_t lines = (kStepBytes / kLine + blocks - 1) / blocks;
  const int64_t left = args.num_outputs - first_output;
  const int64_t row_bytes = args.num_outputs * static_cast<int64_t>(sizeof(BFloat16));
  const bool is_aligned = (reinterpret_cast<uintptr_t>(args.output) | row_bytes) % kLine == 0;
  const BlockOutput output = {
      static_cast<BFloat16*>(args.output) + begin * args.num_outputs + first_output,
      args.num_outputs, 0, left < kOutputsPerBlock ? left : kOutputsPerBlock,
      args.bias == nullptr ? nullptr : args.bias + group * args.num_outputs + first_output,
      is_aligned && args.bias == nullptr && args.num_rows * row_bytes >= kStreamedBytes};
  for (int64_t first = 0; first < tiles; first += step) {
    const int64_t count = tiles - first < step ? tiles - first : step;
    const bool is_last = first + count == tiles;
    const BFloat16* piece = weights + first * kStepNumbers;
    const char* next = reinterpret_cast<const char*>(piece) +
                       (blocks == 1 ? kWeightsAhead : count * kStepBytes);
    for (int64_t row = 0; row < num_rows; row += kRowsPerBlock) {
      float* kept = sums.of_rows + row * kOutputsPerBlock;
      const float* from = first == 0 ? nullptr : kept;
      float* to = kept;
      BlockOutput made = output;
      const int64_t here = num_rows - row < kRowsPerBlock ? num_rows - row : kRowsPerBlock;
      if (is_last) {
        made.to += row * made.stride;
        made.num_rows = here;
        to = sums.complete[before.sums == sums.complete[0]];
      }
      const Ahead ahead = {next + row / kRowsPerBlock * count * lines * kLine, lines};
      if (here > kTileRows) {
        add_block<2>(rows, piece, count, from, to, made, ahead, before);
      } else {
        add_block<1>(rows, piece, count, from, to, made, ahead, before);
      }
      rows += count * kStepNumbers;
    }
  }
}

// One panel of a group for the rows [begin, end), whose tiles are `row_tiles`.
static void tile_linear_item(const PanelLinearArguments& args, const uint16_t* row_tiles,
                             int64_t group, int64_t panel, int64_t begin, int64_t end) {
  ItemSums sums;
  Unfinished before = {};
  const auto* rows = reinterpret_cast<const BFloat16*>(row_tiles);
  configure_tiles();
  const int64_t panels = (args.num_outputs + kPanelWidth - 1) / kPanelWidth;
  const BFloat16* weights = static_cast<const BFloat16*>(args.panels) +
                            (group * panels + panel) * args.num_inputs * kPanelWidth;
  const int64_t past = args.num_outputs - panel * kPanelWidth;
  for (int64_t first = 0; first < kPanelWidth && first < past; first += kOutputsPerBlock) {
    tile_linear_block(args, rows, group, panel * kPanelWidth + first,
                      weights + first * args.num_inputs, begin, end, sums, before);
  }
  before.store_second();
  before.output.store(before.sums, 0, kRowsPerBlock);
  release_tiles();
#ifndef HEADRACE_EMULATE_AMX
  _mm_sfence();  // other threads may read what was streamed
#endif
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
