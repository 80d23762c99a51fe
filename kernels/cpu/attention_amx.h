// Attention of many query vectors of BFloat16 on AMX tiles.
//
// A tile is 16 rows of 64 bytes. One instruction multiplies 16 rows of 32 BFloat16 with 16 rows of
// 16 pairs into 16 x 16 float32, which it adds up pairwise: other bits than ManyProducts gives, the
// same to within float32 rounding. Weights are split into the sum of two BFloat16, so that nothing
// is lost but the last bits of float32.
//
// Sums leave the tiles slowly. So all keys of a split are multiplied before the softmax, and all of
// its values after it, and each sum leaves its tile once; within a split nothing is online.
//
// Scores of a chunk of tokens computed here and of a lone token computed by FewProducts differ in
// their last bits. Where that matters (deterministic mode), attention is computed without tiles.
#pragma once

#include "amx_tiles.h"
#include "attention_kernel.h"
#include "tiled_rows.h"

namespace headrace {
namespace HEADRACE_ISA {

// Two tiles of rows times two tiles of columns use all eight tile registers.
constexpr int64_t kTwoTiles = 32;
constexpr int64_t kTilesPerSplit = kSplit / kTile;

class TileRunner {
 public:
  static constexpr int64_t kQueryMultiple = kTwoTiles;

  static int64_t scratch_floats(const AttentionArguments& args, int64_t queries) {
    const int64_t dim = padded_dim(args), value_dim = args.padded_value_dim();
    return 2 * State::num_floats(queries, value_dim) + queries * (dim / 2 + 2 * kSplit) +
           (dim + value_dim) / 2 * kSplit;
  }

  TileRunner(const AttentionArguments& args, const Item& item, const Chunk* chunks, float* scratch)
      : args_(args),
        item_(item),
        chunks_(chunks + item.first_chunk),
        queries_(item.num_queries),
        padded_queries_(rounded_up(queries_, kQueryMultiple)),
        all_(item.num_heads * padded_queries_),
        dim_(padded_dim(args)),
        value_dim_(args.padded_value_dim()),
        total_(State::at(scratch, all_)),
        split_(State::at(scratch + state_floats(), all_)),
        scores_(scratch + 2 * state_floats()),
        query_(reinterpret_cast<BFloat16*>(scores_ + all_ * kSplit)),
        upper_(query_ + all_ * dim_),
        lower_(upper_ + all_ * kSplit),
        keys_(reinterpret_cast<uint32_t*>(lower_ + all_ * kSplit)),
        values_(keys_ + dim_ / 2 * kSplit),
        range_(args, item, chunks_[0]) {}

  void run(float* states) {
    configure_tiles();
    load_queries();
    const bool is_merged = item_.num_states < 2;
    const State first = states == nullptr ? total_ : State::at(states, all_);
    for (int64_t i = 0; i < item_.num_splits; ++i) {
      const State state = i == 0      ? first
                          : is_merged ? split_
                                      : State::at(states + i * state_floats(), all_);
      attend_split((item_.first_split + i) * kSplit, state);
      if (is_merged && i > 0) merge_states(first, state, all_, value_dim_);
    }
    release_tiles();
    if (states != nullptr) return;
    write_output<BFloat16>(args_, chunks_[0], item_.first_head, item_.num_heads, padded_queries_,
                           first);
  }

 private:
  static int64_t padded_dim(const AttentionArguments& args) {
    return rounded_up(args.key_dim, kChunk);
  }

  int64_t state_floats() const { return State::num_floats(all_, value_dim_); }

  void load_queries() {
    __builtin_memset(query_, 0, all_ * dim_ * sizeof(BFloat16));
    const auto* query = static_cast<const BFloat16*>(args_.query);
    for_each_item_query(args_, item_, chunks_, padded_queries_, [&](int64_t q, int64_t at) {
      __builtin_memcpy(query_ + q * dim_, query + at, args_.key_dim * sizeof(BFloat16));
    });
  }

  // The split that begins at position `from`: sets the state.
  void attend_split(int64_t from, State state) {
    begin_ = (range_.start > from ? range_.start - from : 0) / kTwoTiles * kTwoTiles;
    end_ = rounded_up(range_.stop < from + kSplit ? range_.stop - from : kSplit, kTwoTiles);
    const int64_t first_tile = begin_ / kTile, stop_tile = (end_ + kTile - 1) / kTile;
    for (int64_t i = first_tile; i < stop_tile; ++i) {
      const int64_t position = from + i * kTile;
      tiles_[i].locate(args_, chunks_[0].row, position > range_.start ? position : range_.start,
                       range_.start, range_.stop);
    }
    for (int64_t head = 0; head < item_.num_heads; ++head) {
      for (int64_t i = first_tile; i < stop_tile; ++i) pack(tiles_[i], i * kTile, head);
      const int64_t first = head * padded_queries_;
      for (int64_t row = 0; row < padded_queries_; row += kTwoTiles) {
        for (int64_t column = begin_; column < end_; column += kTwoTiles) {
          score_block(query_ + (first + row) * dim_, keys_ + column,
                      scores_ + row * kSplit + column);
        }
      }
      weigh(from, first, state);
      for (int64_t row = 0; row < padded_queries_; row += kTwoTiles) {
        for (int64_t column = 0; column < value_dim_; column += kTwoTiles) {
          sum_block(row * kSplit, values_ + column,
                    state.values + (first + row) * value_dim_ + column);
        }
      }
    }
  }

  void pack(const Tile& tile, int64_t first, int64_t head) {
    const int64_t kv_head = item_.first_head + head;
    const auto* keys =
        static_cast<const BFloat16*>(args_.key_cache) + kv_head * args_.key_strides[2];
    const auto* values =
        static_cast<const BFloat16*>(args_.value_cache) + kv_head * args_.value_strides[2];
    pack_keys({keys, tile.key_offsets}, tile.begin, tile.end, first);
    pack_values({values, tile.value_offsets}, tile.begin, tile.end, first);
  }

  // Keys as columns of pairs: [dim / 2, kSplit] words. Columns beside the visible ones may hold
  // anything.
  void pack_keys(Rows<BFloat16> keys, int64_t begin, int64_t end, int64_t first) {
    for (int64_t column = begin / kWidth * kWidth; column < end; column += kWidth) {
      for (int64_t start = 0; start < dim_; start += kChunk) {
        BitVec words[kWidth];
#pragma GCC unroll 16
        for (int key = 0; key < kWidth; ++key) {
          words[key] = load_pairs(keys[column + key], start, args_.key_dim);
        }
        transpose(words);
#pragma GCC unroll 16
        for (int pair = 0; pair < kWidth; ++pair) {
          uint32_t* to = keys_ + (start / 2 + pair) * kSplit + first + column;
          __builtin_memcpy(to, &words[pair], sizeof words[pair]);
        }
      }
    }
  }

  // Values as rows of pairs of keys: [kSplit / 2, value_dim] words, columns in the order of
  // load_vectors, zeros for keys beside the visible ones.
  void pack_values(Rows<BFloat16> values, int64_t begin, int64_t end, int64_t first) {
    for (int64_t key = begin / kTwoTiles * kTwoTiles; key < rounded_up(end, kTwoTiles); key += 2) {
      const bool has_first = key >= begin && key < end;
      const bool has_second = key + 1 >= begin && key + 1 < end;
      for (int64_t start = 0; start < value_dim_; start += kChunk) {
        const BitVec even_key =
            has_first ? load_pairs(values[key], start, args_.value_dim) : BitVec{};
        const BitVec odd_key =
            has_second ? load_pairs(values[key + 1], start, args_.value_dim) : BitVec{};
        const BitVec even = (even_key & 0xffffu) | (odd_key << 16);
        const BitVec odd = (even_key >> 16) | (odd_key & 0xffff0000u);
        uint32_t* to = values_ + (first + key) / 2 * value_dim_ + start;
        __builtin_memcpy(to, &even, sizeof even);
        __builtin_memcpy(to + kWidth, &odd, sizeof odd);
      }
    }
  }

  // Scores of all queries of a head become weights; maxima and sums are those of the split.
  void weigh(int64_t from, int64_t first, State state) {
    const int64_t group = args_.group();
    int64_t q = 0;
    for (int64_t i = 0; i < item_.num_chunks; ++i) {
      const Chunk& chunk = chunks_[i];
      for (int64_t token = 0; token < chunk.num_tokens; ++token) {
        const int64_t position = chunk.position + token;
        const int64_t visible = args_.first_visible(position), low = visible - from;
        for (int64_t g = 0; g < group; ++g, ++q) {
          weigh_row(q, low > range_.start - from ? low : range_.start - from, position + 1 - from,
                    state.maximum[first + q], state.sum[first + q]);
        }
      }
    }
    for (; q < padded_queries_; ++q) {
      state.maximum[first + q] = -__builtin_inff();
      state.sum[first + q] = 0;
      clear_weights(q);
    }
  }

  void clear_weights(int64_t q) {
    const int64_t bytes = (end_ - begin_) * sizeof(BFloat16);
    __builtin_memset(upper_ + q * kSplit + begin_, 0, bytes);
    __builtin_memset(lower_ + q * kSplit + begin_, 0, bytes);
  }

  // The keys [low, high) of the split are visible.
  void weigh_row(int64_t q, int64_t low, int64_t high, float& maximum_score, float& sum) {
    float* scores = scores_ + q * kSplit;
    const Vec scale = splat(static_cast<float>(args_.scale));
    const auto first = static_cast<int32_t>(low < 0 ? 0 : low > kSplit ? kSplit : low);
    const auto stop = static_cast<int32_t>(high > kSplit ? kSplit : high < 0 ? 0 : high);
    Vec highest = splat(-__builtin_inff());
    for (int64_t i = begin_; i < end_; i += kWidth) {
      Vec score = load(scores + i) * scale;
      if (args_.softcap != 0) {
        const auto cap = static_cast<float>(args_.softcap);
        score = hyperbolic_tangent(score * (1.0f / cap)) * cap;
      }
      if (i < first || i + kWidth > stop) {
        const IntVec lane = iota() + static_cast<int32_t>(i);
        score = lane >= first ? score : splat(-__builtin_inff());
        score = lane < stop ? score : splat(-__builtin_inff());
      }
      store(scores + i, score);
      highest = maximum(highest, score);
    }
    maximum_score = reduce_maximum(highest);
    sum = 0;
    if (maximum_score == -__builtin_inff()) return clear_weights(q);
    const Vec shift = splat(maximum_score);
    Vec total{};
    for (int64_t i = begin_; i < end_; i += kWidth) {
      const Vec weight = exponential(load(scores + i) - shift);
      total += weight;
      // weight = upper + lower + less than 2^-16 of it.
      const BitVec upper = (BitVec)weight & 0xffff0000u;
      const BitVec lower = (BitVec)(weight - (Vec)upper);
      const HalfVec upper_half = narrowed(upper >> 16), lower_half = narrowed(lower >> 16);
      __builtin_memcpy(upper_ + q * kSplit + i, &upper_half, sizeof upper_half);
      __builtin_memcpy(lower_ + q * kSplit + i, &lower_half, sizeof lower_half);
    }
    sum = reduce_sum(total);
  }

  // scores[32, 32] = query[32, dim] x keys[dim, 32]. Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7
  // columns.
  void score_block(const BFloat16* query, const uint32_t* keys, float* scores) const {
    const int64_t query_stride = dim_ * sizeof(BFloat16), key_stride = kSplit * sizeof(uint32_t);
    zero_sums();
    for (int64_t start = 0; start < dim_; start += kTwoTiles) {
      HEADRACE_TILE_LOAD(4, query + start, query_stride);
      HEADRACE_TILE_LOAD(5, query + kTileRows * dim_ + start, query_stride);
      HEADRACE_TILE_LOAD(6, keys + start / 2 * kSplit, key_stride);
      HEADRACE_TILE_LOAD(7, keys + start / 2 * kSplit + kTileRows, key_stride);
      multiply_tiles();
    }
    store_sums(scores, kSplit);
  }

  // sums[32, 32] = weights[32, kSplit] x values[kSplit, 32].
  void sum_block(int64_t weight, const uint32_t* values, float* sums) const {
    const int64_t stride = value_dim_ * sizeof(float), weight_stride = kSplit * sizeof(BFloat16);
    zero_sums();
    for (int64_t key = begin_; key < end_; key += kTwoTiles) {
      HEADRACE_TILE_LOAD(6, values + key / 2 * value_dim_, stride);
      HEADRACE_TILE_LOAD(7, values + key / 2 * value_dim_ + kTileRows, stride);
      HEADRACE_TILE_LOAD(4, upper_ + weight + key, weight_stride);
      HEADRACE_TILE_LOAD(5, upper_ + weight + kTileRows * kSplit + key, weight_stride);
      multiply_tiles();
      HEADRACE_TILE_LOAD(4, lower_ + weight + key, weight_stride);
      HEADRACE_TILE_LOAD(5, lower_ + weight + kTileRows * kSplit + key, weight_stride);
      multiply_tiles();
    }
    store_sums(sums, value_dim_);
  }

  HEADRACE_INLINE_MEMBER static void zero_sums() {
    HEADRACE_TILE_ZERO(0);
    HEADRACE_TILE_ZERO(1);
    HEADRACE_TILE_ZERO(2);
    HEADRACE_TILE_ZERO(3);
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
  const Item& item_;
  const Chunk* const chunks_;
  const int64_t queries_, padded_queries_;  // of a KV head
  const int64_t all_;                       // over the item's heads, padded
  const int64_t dim_, value_dim_;           // padded
  const State total_, split_;
  float* const scores_;  // [padded queries, kSplit], of one head
  BFloat16* const query_;
  BFloat16* const upper_;  // weights, like scores
  BFloat16* const lower_;
  uint32_t* const keys_;
  uint32_t* const values_;
  const VisibleRange range_;
  int64_t begin_, end_;   // of the split at hand, in whole tiles
  Tile tiles_[kTilesPerSplit];
};

struct TileEntry {
  static void run(const AttentionArguments& args, const Item& item, const Chunk* chunks,
                  float* scratch, float* states) {
    TileRunner(args, item, chunks, scratch).run(states);
  }

  static constexpr ItemKernel kKernel = {TileRunner::kQueryMultiple, TileRunner::scratch_floats,
                                         run, merge_parts<BFloat16>};
};

}  // namespace HEADRACE_ISA
}  // namespace headrace
