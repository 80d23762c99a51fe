// Rows of BFloat16 in tiles, as AMX multiplies them: 16 rows of 32 inputs lie together.
//
// The weights of a panel lie in two blocks of 32 outputs, and in each, 32 inputs after the other, in
// two tiles of 16 pairs of inputs and 16 outputs.
#pragma once

#include <cstdint>

namespace headrace {

constexpr int64_t kTileRows = 16, kInputsPerTile = 32;
// Rows that are computed together stay in the second-level cache (1.5 of 2 MiB), their sums too.
constexpr int64_t kTiledRowBytes = 3 << 19, kMostTiledRows = 512;

constexpr int64_t rows_per_tiled_item(int64_t num_inputs) {
  const int64_t rows = kTiledRowBytes / 2 / (num_inputs > 0 ? num_inputs : 1);
  const int64_t bounded = rows < kMostTiledRows ? rows : kMostTiledRows;
  return bounded < 2 * kTileRows ? 2 * kTileRows : bounded / (2 * kTileRows) * (2 * kTileRows);
}

// Tiles of rows that hold so many, in blocks of two.
constexpr int64_t num_row_tiles(int64_t rows) {
  return (rows + 2 * kTileRows - 1) / (2 * kTileRows) * 2;
}

}  // namespace headrace
