// The online softmax of paged attention, for one query vector at a time.
#pragma once

#include "attention.h"
#include "vector.h"

namespace headrace {
namespace HEADRACE_ISA {

HEADRACE_INLINE void cap_scores(float* scores, float softcap) {
  const float inverse = 1.0f / softcap;
  for (int64_t i = 0; i < kTile; i += kWidth) {
    store(scores + i, hyperbolic_tangent(load(scores + i) * inverse) * softcap);
  }
}

// Only the keys [low, high) of the tile stay.
HEADRACE_INLINE void hide_scores(float* scores, int64_t low, int64_t high) {
  const int32_t first = low < 0 ? 0 : low > kTile ? kTile : static_cast<int32_t>(low);
  const int32_t stop = high > kTile ? kTile : high < 0 ? 0 : static_cast<int32_t>(high);
  for (int32_t i = 0; i < kTile; i += kWidth) {
    const IntVec lane = iota() + i;
    const Vec visible = lane >= first ? load(scores + i) : splat(-__builtin_inff());
    store(scores + i, lane < stop ? visible : splat(-__builtin_inff()));
  }
}

HEADRACE_INLINE void scale_values(float* values, int64_t padded_dim, Vec factor) {
  for (int64_t i = 0; i < padded_dim; i += kWidth) store(values + i, load(values + i) * factor);
}

// Scores of a tile become weights relative to the maximum so far. A tile without a visible key
// leaves the state as it is.
HEADRACE_INLINE void softmax_tile(float* scores, State state, int64_t q, int64_t padded_dim) {
  Vec highest = load(scores);
  for (int64_t i = kWidth; i < kTile; i += kWidth) highest = maximum(highest, load(scores + i));
  const float tile_maximum = reduce_maximum(highest);
  if (tile_maximum == -__builtin_inff()) {
    for (int64_t i = 0; i < kTile; i += kWidth) store(scores + i, Vec{});
    return;
  }
  const float before = state.maximum[q];
  if (!(tile_maximum <= before)) {
    state.maximum[q] = tile_maximum;
    if (before != -__builtin_inff()) {  // else all is zero so far
      const Vec factor = exponential(splat(before - tile_maximum));
      state.sum[q] *= factor[0];
      scale_values(state.values + q * padded_dim, padded_dim, factor);
    }
  }
  const Vec shift = splat(state.maximum[q]);
  Vec sum{};
  for (int64_t i = 0; i < kTile; i += kWidth) {
    const Vec weight = exponential(load(scores + i) - shift);
    store(scores + i, weight);
    sum += weight;
  }
  state.sum[q] += reduce_sum(sum);
}

// A later split into the total. Not inlined: all callers must round alike.
__attribute__((noinline)) static void merge_states(State total, State split, int64_t num_queries,
                                                   int64_t padded_dim) {
  for (int64_t q = 0; q < num_queries; ++q) {
    if (split.maximum[q] == -__builtin_inff()) continue;
    float* into = total.values + q * padded_dim;
    const float* from = split.values + q * padded_dim;
    if (total.maximum[q] == -__builtin_inff()) {  // nothing was visible, not even NaN counts
      total.maximum[q] = split.maximum[q];
      total.sum[q] = split.sum[q];
      __builtin_memcpy(into, from, padded_dim * sizeof(float));
    } else if (split.maximum[q] <= total.maximum[q]) {
      const Vec factor = exponential(splat(split.maximum[q] - total.maximum[q]));
      total.sum[q] += split.sum[q] * factor[0];
      for (int64_t i = 0; i < padded_dim; i += kWidth) {
        store(into + i, load(into + i) + load(from + i) * factor);
      }
    } else {
      const Vec factor = exponential(splat(total.maximum[q] - split.maximum[q]));
      total.maximum[q] = split.maximum[q];
      total.sum[q] = total.sum[q] * factor[0] + split.sum[q];
      for (int64_t i = 0; i < padded_dim; i += kWidth) {
        store(into + i, load(into + i) * factor + load(from + i));
      }
    }
  }
}

// One more score that has no value.
HEADRACE_INLINE void add_sink(State total, int64_t q, float sink, int64_t padded_dim) {
  const float highest = sink > total.maximum[q] ? sink : total.maximum[q];
  const Vec factor = exponential(splat(total.maximum[q] - highest));
  total.sum[q] = total.sum[q] * factor[0] + exponential(splat(sink - highest))[0];
  scale_values(total.values + q * padded_dim, padded_dim, factor);
}

}  // namespace HEADRACE_ISA
}  // namespace headrace
