// Products of query vectors and keys, in two ways that give the same bits.
//
// The product of two vectors is defined so: lane j of kWidth adds up, one after another, its
// elements of each chunk; then the lanes are added in a tree, first those that are kWidth / 2
// apart, at last neighbours.
//   - Few queries: keys are read where they lie, one product fills a register, and a whole register
//     of products goes down the tree together.
//   - Many queries: keys are packed as columns first, lane by lane in the order of the tree, and a
//     register holds one lane of many products.
#pragma once

#include "attention_cache.h"

namespace headrace {
namespace HEADRACE_ISA {

constexpr int kTreeDepth = kWidth == 16 ? 4 : kWidth == 8 ? 3 : 2;

// A block of products in registers: query vectors times vectors of keys.
constexpr int kBlockRows = 6;
constexpr int kBlockVecs = kWidth == 16 ? 4 : 2;

constexpr int64_t padded_key_dim(int64_t key_dim) { return rounded_up(key_dim, kChunk); }

// A query vector, scaled, chunk by chunk: [padded_key_dim].
template <class T>
HEADRACE_INLINE void load_query_row(const T* from, int64_t dim, float scale, float* to) {
  for (int64_t start = 0; start < dim; start += kChunk) {
    Vec chunk[2];
    load_chunk(from, start, dim, chunk);
    store(to + start, chunk[0] * scale);
    store(to + start + kWidth, chunk[1] * scale);
  }
}

// ---- Few queries ----

// Lanes of a and b that are kStep apart, added: a's sums where that bit of the lane is 0, b's
// elsewhere.
template <int kStep>
HEADRACE_INLINE Vec add_lanes(Vec a, Vec b) {
  const IntVec lane = iota();
  const IntVec is_upper = (lane & kStep) != 0;
  const IntVec other = (is_upper & (lane - kStep + kWidth)) | (~is_upper & (lane + kStep));
  const Vec near = is_upper ? b : a;
  return near + HEADRACE_SHUFFLE(a, b, other);
}

// Lane i of the result is the sum of all lanes of sums[i].
template <int kStep>
HEADRACE_INLINE Vec reduce_lanes(const Vec* sums) {
  if constexpr (kStep == 0) {
    return *sums;
  } else {
    Vec halves[kStep];
#pragma GCC unroll 8
    for (int i = 0; i < kStep; ++i) halves[i] = add_lanes<kStep>(sums[i], sums[i + kStep]);
    return reduce_lanes<kStep / 2>(halves);
  }
}

// One chunk of kRows query vectors times kWidth / kRows keys from `column` on.
template <int kRows, bool kIsWhole, class T>
HEADRACE_INLINE void add_chunk(const float* query, Rows<T> keys, int64_t dim, int64_t column,
                               int64_t start, Vec (&sums)[kWidth]) {
  constexpr int kKeys = kWidth / kRows;
#pragma GCC unroll 16
  for (int key = 0; key < kKeys; ++key) {
    Vec chunk[2];
    if (kIsWhole) {
      load_vectors(keys[column + key] + start, chunk);
    } else {
      load_chunk(keys[column + key], start, dim, chunk);
    }
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      const float* from = query + row * padded_key_dim(dim) + start;
      Vec& sum = sums[row * kKeys + key];
      sum += load(from) * chunk[0];
      sum += load(from + kWidth) * chunk[1];
    }
  }
}

// kRows query vectors times the keys [begin, end).
template <int kRows, class T>
HEADRACE_INLINE void score_rows(const float* query, Rows<T> keys, int64_t dim, int64_t begin,
                                int64_t end, Upcoming<T>& upcoming, float* scores) {
  constexpr int kKeys = kWidth / kRows;
  for (int64_t column = begin; column < end; column += kKeys) {
    for (int key = 0; key < kKeys; ++key) upcoming.fetch_row();
    Vec sums[kWidth] = {};
    int64_t start = 0;
    for (; start + kChunk <= dim; start += kChunk) {
      add_chunk<kRows, true>(query, keys, dim, column, start, sums);
    }
    if (start < dim) add_chunk<kRows, false>(query, keys, dim, column, start, sums);
    float result[kWidth];
    store(result, reduce_lanes<kWidth / 2>(sums));
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      float* to = scores + row * kTile + column;
      __builtin_memcpy(to, result + row * kKeys, kKeys * sizeof(float));
    }
  }
}

// The keys [begin, end), multiples of kWidth, where they lie.
template <class T>
static void score_few(const float* query, int64_t num_queries, Rows<T> keys, int64_t dim,
                      int64_t begin, int64_t end, Upcoming<T>& upcoming, float* scores) {
  int64_t row = 0;
  while (row < num_queries) {
    const float* from = query + row * padded_key_dim(dim);
    float* to = scores + row * kTile;
    const int64_t left = num_queries - row;
    if (left >= 4) {
      score_rows<4>(from, keys, dim, begin, end, upcoming, to);
      row += 4;
    } else if (left >= 2) {
      score_rows<2>(from, keys, dim, begin, end, upcoming, to);
      row += 2;
    } else {
      score_rows<1>(from, keys, dim, begin, end, upcoming, to);
      row += 1;
    }
  }
}

// ---- Many queries ----

// Where the tree has lane j: with the bits of j reversed, lanes that are added first are
// neighbours.
HEADRACE_INLINE int64_t place_in_tree(int64_t lane) {
  int64_t place = 0;
  for (int bit = 0; bit < kTreeDepth; ++bit) {
    place |= (lane >> bit & 1) << (kTreeDepth - 1 - bit);
  }
  return place;
}

// A query vector as load_query_row leaves it, brought lane by lane into the order of the tree.
HEADRACE_INLINE void spread_query_row(const float* from, int64_t dim, float* to) {
  const int64_t per_lane = padded_key_dim(dim) / kWidth;
  for (int64_t i = 0; i < per_lane; ++i) {
    for (int64_t lane = 0; lane < kWidth; ++lane) {
      to[place_in_tree(lane) * per_lane + i] = from[i * kWidth + lane];
    }
  }
}

// The chunk at `start` of kWidth keys from `column` on, as columns: what lane j adds up is two rows
// at place_in_tree(j).
template <class T>
HEADRACE_INLINE void pack_chunk(Rows<T> keys, int64_t start, int64_t dim, int64_t column,
                                int64_t per_lane, float* to) {
  BitVec first[kWidth], second[kWidth];
#pragma GCC unroll 16
  for (int key = 0; key < kWidth; ++key) {
    Vec chunk[2];
    load_chunk(keys[column + key], start, dim, chunk);
    first[key] = (BitVec)chunk[0];
    second[key] = (BitVec)chunk[1];
  }
  transpose(first);
  transpose(second);
#pragma GCC unroll 16
  for (int lane = 0; lane < kWidth; ++lane) {
    float* row = to + place_in_tree(lane) * per_lane * kTile;
    store(row, (Vec)first[lane]);
    store(row + kTile, (Vec)second[lane]);
  }
}

// Pairs are transposed before they come apart.
HEADRACE_INLINE void pack_chunk(Rows<BFloat16> keys, int64_t start, int64_t dim, int64_t column,
                                int64_t per_lane, float* to) {
  BitVec words[kWidth];
#pragma GCC unroll 16
  for (int key = 0; key < kWidth; ++key) words[key] = load_pairs(keys[column + key], start, dim);
  transpose(words);
#pragma GCC unroll 16
  for (int lane = 0; lane < kWidth; ++lane) {
    float* row = to + place_in_tree(lane) * per_lane * kTile;
    store(row, (Vec)(words[lane] << 16));
    store(row + kTile, (Vec)(words[lane] & 0xffff0000u));
  }
}

// Keys as columns: [padded_key_dim, kTile], rows like the elements of a spread query. [begin, end)
// are multiples of kWidth.
template <class T>
static void pack_keys(Rows<T> keys, int64_t dim, int64_t begin, int64_t end, Upcoming<T>& upcoming,
                      float* to) {
  const int64_t per_lane = padded_key_dim(dim) / kWidth;
  for (int64_t column = begin; column < end; column += kWidth) {
    for (int key = 0; key < kWidth; ++key) upcoming.fetch_row();
    for (int64_t start = 0; start < dim; start += kChunk) {
      pack_chunk(keys, start, dim, column, per_lane, to + start / kWidth * kTile + column);
    }
  }
}

// kRows spread query vectors times kVecs vectors of packed keys. Goes through the tree from left to
// right: `pending` holds the left sums whose right siblings are not done.
template <int kRows, int kVecs>
HEADRACE_INLINE void score_columns(const float* query, const float* keys, int64_t stride,
                                   float* scores) {
  Vec pending[kTreeDepth + 1][kRows][kVecs];
  const int64_t per_lane = stride / kWidth;
  for (int place = 0; place < kWidth; ++place) {
    Vec sums[kRows][kVecs] = {};
    for (int64_t i = place * per_lane; i < (place + 1) * per_lane; ++i) {
      Vec columns[kVecs];
      load_vectors(keys + i * kTile, columns);
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
        const Vec factor = splat(query[row * stride + i]);
#pragma GCC unroll 8
        for (int n = 0; n < kVecs; ++n) sums[row][n] += factor * columns[n];
      }
    }
    int level = 0;
    for (; place >> level & 1; ++level) {
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 8
        for (int n = 0; n < kVecs; ++n) sums[row][n] += pending[level][row][n];
      }
    }
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 8
      for (int n = 0; n < kVecs; ++n) pending[level][row][n] = sums[row][n];
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int n = 0; n < kVecs; ++n) {
      store(scores + row * kTile + n * kWidth, pending[kTreeDepth][row][n]);
    }
  }
}

template <int kRows>
HEADRACE_INLINE void score_many_rows(const float* query, const float* keys, int64_t stride,
                                     int64_t begin, int64_t end, float* scores) {
  int64_t column = begin;
  for (; column + kBlockVecs * kWidth <= end; column += kBlockVecs * kWidth) {
    score_columns<kRows, kBlockVecs>(query, keys + column, stride, scores + column);
  }
  for (; column < end; column += kWidth) {
    score_columns<kRows, 1>(query, keys + column, stride, scores + column);
  }
}

// Packed keys [begin, end), multiples of kWidth.
static void score_many(const float* query, int64_t num_queries, const float* keys, int64_t dim,
                       int64_t begin, int64_t end, float* scores) {
  const int64_t stride = padded_key_dim(dim);
  int64_t row = 0;
  for (; row + kBlockRows <= num_queries; row += kBlockRows) {
    score_many_rows<kBlockRows>(query + row * stride, keys, stride, begin, end,
                                scores + row * kTile);
  }
  for (; row + 2 <= num_queries; row += 2) {
    score_many_rows<2>(query + row * stride, keys, stride, begin, end, scores + row * kTile);
  }
  if (row < num_queries) {
    score_many_rows<1>(query + row * stride, keys, stride, begin, end, scores + row * kTile);
  }
}

}  // namespace HEADRACE_ISA
}  // namespace headrace
