// Weighted sums of values: sums[q, d] += sum over keys of weights[q, key] * values[key, d].
//
// Each element is one chain of additions in the order of keys, however the product is cut into
// blocks.
#pragma once

#include "attention_scores.h"

namespace headrace {
namespace HEADRACE_ISA {

struct WeightedSum {
  const float* weights;  // [queries, kTile]
  int64_t begin, end;    // keys
  float* sums;           // [queries, stride], chunks in the order of load_vectors
  int64_t stride;
};

// Values as they lie in the cache. All of them are gone through several times; the rows to fetch
// are spread over these passes.
template <class T>
struct StoredValues {
  Rows<T> rows;
  Upcoming<T>& upcoming;
  int64_t pass_mask;

  HEADRACE_INLINE_MEMBER const T* operator()(int64_t key, int64_t column) const {
    if ((key & pass_mask) == 0) upcoming.fetch_row();
    return rows[key] + column;
  }
};

// The passes, less one, rounded up to ones.
HEADRACE_INLINE int64_t pass_mask(int64_t num_columns) {
  const int64_t num_passes = rounded_up(num_columns, kBlockVecs * kWidth) / (kBlockVecs * kWidth);
  int64_t mask = 0;
  while (mask + 1 < num_passes) mask = 2 * mask + 1;
  return mask;
}

// Values packed by pack_values.
struct PackedValues {
  const float* first;
  int64_t stride;

  HEADRACE_INLINE_MEMBER const float* operator()(int64_t key, int64_t column) const {
    return first + key * stride + column;
  }
};

template <int kRows, int kVecs, class Values>
HEADRACE_INLINE void add_block(const WeightedSum& task, const Values& values, int64_t row,
                               int64_t column) {
  Vec sums[kRows][kVecs];
  float* to = task.sums + row * task.stride + column;
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < kVecs; ++n) sums[m][n] = load(to + m * task.stride + n * kWidth);
  }
  const float* weights = task.weights + row * kTile;
  for (int64_t key = task.begin; key < task.end; ++key) {
    Vec columns[kVecs];
    load_vectors(values(key, column), columns);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const Vec weight = splat(weights[m * kTile + key]);
#pragma GCC unroll 8
      for (int n = 0; n < kVecs; ++n) sums[m][n] += weight * columns[n];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < kVecs; ++n) store(to + m * task.stride + n * kWidth, sums[m][n]);
  }
}

template <int kVecs, class Values>
HEADRACE_INLINE void add_columns(const WeightedSum& task, const Values& values, int64_t num_queries,
                                 int64_t column) {
  int64_t row = 0;
  for (; row + kBlockRows <= num_queries; row += kBlockRows) {
    add_block<kBlockRows, kVecs>(task, values, row, column);
  }
  switch (num_queries - row) {
    case 1: return add_block<1, kVecs>(task, values, row, column);
    case 2: return add_block<2, kVecs>(task, values, row, column);
    case 3: return add_block<3, kVecs>(task, values, row, column);
    case 4: return add_block<4, kVecs>(task, values, row, column);
    case 5: return add_block<5, kVecs>(task, values, row, column);
    default: return;
  }
}

// `num_columns` is a multiple of kChunk.
template <class Values>
static void add_weighted(const WeightedSum& task, const Values& values, int64_t num_queries,
                         int64_t num_columns) {
  int64_t column = 0;
  for (; column + kBlockVecs * kWidth <= num_columns; column += kBlockVecs * kWidth) {
    add_columns<kBlockVecs>(task, values, num_queries, column);
  }
  for (; column < num_columns; column += kChunk) {
    add_columns<2>(task, values, num_queries, column);
  }
}

// The values [begin, end) as rows, [kTile, stride] in the order of load_vectors, zeros behind
// `dim`.
template <class T>
static void pack_values(Rows<T> values, int64_t begin, int64_t end, int64_t dim, int64_t stride,
                        Upcoming<T>& upcoming, float* to) {
  for (int64_t key = begin; key < end; ++key) {
    upcoming.fetch_row();
    for (int64_t start = 0; start < stride; start += kChunk) {
      Vec chunk[2] = {};
      if (start < dim) load_chunk(values[key], start, dim, chunk);
      store(to + key * stride + start, chunk[0]);
      store(to + key * stride + start + kWidth, chunk[1]);
    }
  }
}

// A sum, divided, its elements in order.
template <class T>
HEADRACE_INLINE void store_divided(const float* sums, float divisor, int64_t dim, T* to) {
  for (int64_t start = 0; start < dim; start += kChunk) {
    const Vec chunk[2] = {load(sums + start) / divisor, load(sums + start + kWidth) / divisor};
    if (start + kChunk <= dim) {
      store_vectors(to + start, chunk);
    } else {
      T padded[kChunk];
      store_vectors(padded, chunk);
      __builtin_memcpy(to + start, padded, (dim - start) * sizeof(T));
    }
  }
}

}  // namespace HEADRACE_ISA
}  // namespace headrace
