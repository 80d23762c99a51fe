// Products of attention for many query vectors of BFloat16 on AMX tiles.
//
// A tile is 16 rows of 64 bytes. One instruction multiplies 16 rows of 32 BFloat16 with 16 rows of
// 16 pairs into 16 x 16 float32, which it adds up pairwise: other bits than ManyProducts gives, the
// same to within float32 rounding. Weights are split into the sum of two BFloat16, so that nothing
// is lost but the last bits of float32.
//
// Scores of a chunk of tokens computed here and of a lone token computed by FewProducts differ in
// their last bits. Where that matters (deterministic mode), choose the instruction set "avx512".
#pragma once

#include "amx_tiles.h"
#include "attention_cache.h"
#include "tiled_rows.h"

namespace headrace {
namespace HEADRACE_ISA {

// Two tiles of rows times two tiles of columns use all eight tile registers.
constexpr int64_t kTwoTiles = 32;

class TileProducts {
 public:
  static constexpr int64_t kQueryMultiple = kTwoTiles;

  static int64_t num_floats(const AttentionArguments& args, int64_t queries) {
    const int64_t dim = padded_dim(args);
    return queries * dim / 2 + dim / 2 * kTile + kTile / 2 * args.padded_value_dim() +
           queries * kTile;
  }

  TileProducts(const AttentionArguments& args, int64_t queries, float* scratch)
      : args_(args),
        dim_(padded_dim(args)),
        value_dim_(args.padded_value_dim()),
        query_(reinterpret_cast<BFloat16*>(scratch)),
        keys_(reinterpret_cast<uint32_t*>(scratch + queries * dim_ / 2)),
        values_(keys_ + dim_ / 2 * kTile),
        upper_(reinterpret_cast<BFloat16*>(values_ + kTile / 2 * value_dim_)),
        lower_(upper_ + queries * kTile) {
    configure_tiles();
    __builtin_memset(query_, 0, queries * dim_ * sizeof(BFloat16));
  }

  ~TileProducts() { release_tiles(); }
  TileProducts(const TileProducts&) = delete;

  void load_query(int64_t q, const BFloat16* from) {
    __builtin_memcpy(query_ + q * dim_, from, args_.key_dim * sizeof(BFloat16));
  }

  void score(int64_t first, int64_t queries, const Source<BFloat16>& from,
             Upcoming<BFloat16>& upcoming, float* scores) {
    pack_keys(from, upcoming);
    const int64_t padded = rounded_up(queries, kTwoTiles);
    for (int64_t row = 0; row < padded; row += kTwoTiles) {
      for (int64_t column = from.begin / kTwoTiles * kTwoTiles; column < from.end;
           column += kTwoTiles) {
        score_block(query_ + (first + row) * dim_, keys_ + column, scores + row * kTile + column);
      }
    }
    const Vec scale = splat(static_cast<float>(args_.scale));
    for (int64_t i = 0; i < padded * kTile; i += kWidth)
      store(scores + i, load(scores + i) * scale);
  }

  void add_values(float* weights, int64_t queries, const Source<BFloat16>& from,
                  Upcoming<BFloat16>& upcoming, float* sums) {
    pack_values(from, upcoming);
    const int64_t padded = rounded_up(queries, kTwoTiles);
    split_weights(weights, padded * kTile);
    for (int64_t row = 0; row < padded; row += kTwoTiles) {
      for (int64_t column = 0; column < value_dim_; column += kTwoTiles) {
        add_block(row * kTile, from, values_ + column, sums + row * value_dim_ + column);
      }
    }
  }

 private:
  static int64_t padded_dim(const AttentionArguments& args) {
    return rounded_up(args.key_dim, kChunk);
  }

  // Keys as columns of pairs: [dim / 2, kTile] words. Columns beside the visible ones may hold
  // anything.
  void pack_keys(const Source<BFloat16>& from, Upcoming<BFloat16>& upcoming) {
    for (int64_t column = from.begin / kWidth * kWidth; column < from.end; column += kWidth) {
      for (int key = 0; key < kWidth; ++key) upcoming.fetch_row();
      for (int64_t start = 0; start < dim_; start += kChunk) {
        BitVec words[kWidth];
#pragma GCC unroll 16
        for (int key = 0; key < kWidth; ++key) {
          words[key] = load_pairs(from.keys[column + key], start, args_.key_dim);
        }
        transpose(words);
#pragma GCC unroll 16
        for (int pair = 0; pair < kWidth; ++pair) {
          uint32_t* to = keys_ + (start / 2 + pair) * kTile + column;
          __builtin_memcpy(to, &words[pair], sizeof words[pair]);
        }
      }
    }
  }

  // Values as rows of pairs of keys: [kTile / 2, value_dim] words, columns in the order of
  // load_vectors, zeros for keys beside the visible ones.
  void pack_values(const Source<BFloat16>& from, Upcoming<BFloat16>& upcoming) {
    for (int64_t key = from.begin / kTwoTiles * kTwoTiles; key < rounded_up(from.end, kTwoTiles);
         key += 2) {
      upcoming.fetch_row();
      upcoming.fetch_row();
      const bool has_first = key >= from.begin && key < from.end;
      const bool has_second = key + 1 >= from.begin && key + 1 < from.end;
      for (int64_t start = 0; start < value_dim_; start += kChunk) {
        const BitVec first =
            has_first ? load_pairs(from.values[key], start, args_.value_dim) : BitVec{};
        const BitVec second =
            has_second ? load_pairs(from.values[key + 1], start, args_.value_dim) : BitVec{};
        const BitVec even = (first & 0xffffu) | (second << 16);
        const BitVec odd = (first >> 16) | (second & 0xffff0000u);
        uint32_t* to = values_ + key / 2 * value_dim_ + start;
        __builtin_memcpy(to, &even, sizeof even);
        __builtin_memcpy(to + kWidth, &odd, sizeof odd);
      }
    }
  }

  // weight = upper + lower + less than 2^-16 of it.
  void split_weights(const float* weights, int64_t count) {
    for (int64_t i = 0; i < count; i += kWidth) {
      const Vec weight = load(weights + i);
      const BitVec upper = (BitVec)weight & 0xffff0000u;
      const BitVec lower = (BitVec)(weight - (Vec)upper);
      const HalfVec upper_half = narrowed(upper >> 16), lower_half = narrowed(lower >> 16);
      __builtin_memcpy(upper_ + i, &upper_half, sizeof upper_half);
      __builtin_memcpy(lower_ + i, &lower_half, sizeof lower_half);
    }
  }

  // scores[32, 32] = query[32, dim] x keys[dim, 32]. Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7
  // columns.
  void score_block(const BFloat16* query, const uint32_t* keys, float* scores) const {
    const int64_t query_stride = dim_ * sizeof(BFloat16), key_stride = kTile * sizeof(uint32_t);
    HEADRACE_TILE_ZERO(0);
    HEADRACE_TILE_ZERO(1);
    HEADRACE_TILE_ZERO(2);
    HEADRACE_TILE_ZERO(3);
    for (int64_t start = 0; start < dim_; start += kTwoTiles) {
      HEADRACE_TILE_LOAD(4, query + start, query_stride);
      HEADRACE_TILE_LOAD(5, query + kTileRows * dim_ + start, query_stride);
      HEADRACE_TILE_LOAD(6, keys + start / 2 * kTile, key_stride);
      HEADRACE_TILE_LOAD(7, keys + start / 2 * kTile + kTileRows, key_stride);
      multiply_tiles();
    }
    store_sums(scores, kTile);
  }

  // sums[32, 32] += weights[32, kTile] x values[kTile, 32].
  void add_block(int64_t weight, const Source<BFloat16>& from, const uint32_t* values,
                 float* sums) const {
    const int64_t stride = value_dim_ * sizeof(float), weight_stride = kTile * sizeof(BFloat16);
    HEADRACE_TILE_LOAD(0, sums, stride);
    HEADRACE_TILE_LOAD(1, sums + kTileRows, stride);
    HEADRACE_TILE_LOAD(2, sums + kTileRows * value_dim_, stride);
    HEADRACE_TILE_LOAD(3, sums + kTileRows * value_dim_ + kTileRows, stride);
    for (int64_t key = from.begin / kTwoTiles * kTwoTiles; key < from.end; key += kTwoTiles) {
      HEADRACE_TILE_LOAD(6, values + key / 2 * value_dim_, stride);
      HEADRACE_TILE_LOAD(7, values + key / 2 * value_dim_ + kTileRows, stride);
      HEADRACE_TILE_LOAD(4, upper_ + weight + key, weight_stride);
      HEADRACE_TILE_LOAD(5, upper_ + weight + kTileRows * kTile + key, weight_stride);
      multiply_tiles();
      HEADRACE_TILE_LOAD(4, lower_ + weight + key, weight_stride);
      HEADRACE_TILE_LOAD(5, lower_ + weight + kTileRows * kTile + key, weight_stride);
      multiply_tiles();
    }
    store_sums(sums, value_dim_);
  }

  HEADRACE_INLINE_MEMBER static void multiply_tiles() {
    HEADRACE_TILE_MULTIPLY(0, 4, 6);
    HEADRACE_TILE_MULTIPLY(1, 4, 7);
    HEADRACE_TILE_MULTIPLY(2, 5, 6);
    HEADRACE_TILE_MULTIPLY(3, 5, 7);
  }

  HEADRACE_INLINE_MEMBER static void store_sums(float* to, int64_t row_floats) {
    const int64_t stride = row_floats * sizeof(float);
    HEADRACE_TILE_STORE(0, to, stride);
    HEADRACE_TILE_STORE(1, to + kTileRows, stride);
    HEADRACE_TILE_STORE(2, to + kTileRows * row_floats, stride);
    HEADRACE_TILE_STORE(3, to + kTileRows * row_floats + kTileRows, stride);
  }

  const AttentionArguments& args_;
  const int64_t dim_, value_dim_;
  BFloat16* const query_;
  uint32_t* const keys_;
  uint32_t* const values_;
  BFloat16* const upper_;
  BFloat16* const lower_;
};

}  // namespace HEADRACE_ISA
}  // namespace headrace
