// What one instruction set does of paged attention: running items. See attention.h.
#pragma once

#include "attention_products.h"
#include "attention_softmax.h"

namespace headrace {
namespace HEADRACE_ISA {

// Query and output are of type Query, the caches of type T; both keep rows in the same order.
template <class Query, class T, class Products>
class ItemRunner {
 public:
  ItemRunner(const AttentionArguments& args, const Item& item, float* scratch)
      : args_(args),
        item_(item),
        queries_(item.num_tokens * args.group()),
        padded_queries_(rounded_up(queries_, Products::kQueryMultiple)),
        all_(item.num_heads * padded_queries_),
        padded_dim_(args.padded_value_dim()),
        total_(State::at(scratch, all_)),
        split_(State::at(scratch + state_floats(), all_)),
        scores_(scratch + 2 * state_floats()),
        products_(args, all_, scores_ + padded_queries_ * kTile) {}

  static int64_t scratch_floats(const AttentionArguments& args, int64_t queries) {
    return 2 * State::num_floats(queries, args.padded_value_dim()) + queries * kTile +
           Products::num_floats(args, queries);
  }

  void run(float* partial, int64_t partial_stride) {
    for_each_query([&](int64_t q, int64_t token, int64_t query_head) {
      const Query* query = static_cast<const Query*>(args_.query);
      products_.load_query(
          q, query + token * args_.query_strides[0] + query_head * args_.query_strides[1]);
    });
    if (partial == nullptr) clear(total_);
    for (int64_t i = 0; i < item_.num_splits; ++i) {
      const State state =
          partial == nullptr ? split_ : State::at(partial + i * partial_stride, all_);
      clear(state);
      attend_split(item_.first_split + i, state);
      if (partial == nullptr) merge_states(total_, state, all_, padded_dim_);
    }
    if (partial == nullptr) finish();
  }

  void merge(int64_t num_splits, float* partial, int64_t partial_stride) {
    clear(total_);
    for (int64_t i = 0; i < num_splits; ++i) {
      merge_states(total_, State::at(partial + i * partial_stride, all_), all_, padded_dim_);
    }
    finish();
  }

 private:
  int64_t state_floats() const { return State::num_floats(all_, padded_dim_); }

  // body(q, token, query head), q as states count.
  template <class Body>
  void for_each_query(const Body& body) const {
    const int64_t group = args_.group();
    for (int64_t head = 0; head < item_.num_heads; ++head) {
      for (int64_t i = 0; i < queries_; ++i) {
        body(head * padded_queries_ + i, item_.first_token + i / group,
             (item_.first_head + head) * group + i % group);
      }
    }
  }

  void clear(State state) const {
    for (int64_t q = 0; q < all_; ++q) {
      state.maximum[q] = -__builtin_inff();
      state.sum[q] = 0;
    }
    for (int64_t i = 0; i < all_ * padded_dim_; i += kWidth) store(state.values + i, Vec{});
  }

  void attend_split(int64_t split, State state) {
    const int64_t first = args_.first_visible(item_.position);
    const int64_t last = item_.position + item_.num_tokens;
    const int64_t start = first > split * kSplit ? first : split * kSplit;
    const int64_t stop = last < (split + 1) * kSplit ? last : (split + 1) * kSplit;
    Tile *tile = &tiles_[0], *next = &tiles_[1];
    tile->locate(args_, item_.row, start, start, stop);
    for (;;) {
      const bool is_last = tile->start + kTile >= stop;
      if (!is_last) next->locate(args_, item_.row, tile->start + kTile, start, stop);
      for (int64_t head = 0; head < item_.num_heads; ++head) {
        if (head + 1 < item_.num_heads) {
          attend_tile(tile->start, head, source(*tile, head), source(*tile, head + 1), state);
        } else {
          attend_tile(tile->start, head, source(*tile, head), source(is_last ? *tile : *next, 0),
                      state);
        }
      }
      if (is_last) return;
      Tile* const done = tile;
      tile = next;
      next = done;
    }
  }

  Source<T> source(const Tile& tile, int64_t head) const {
    const int64_t kv_head = item_.first_head + head;
    const T* keys = static_cast<const T*>(args_.key_cache) + kv_head * args_.key_strides[2];
    const T* values = static_cast<const T*>(args_.value_cache) + kv_head * args_.value_strides[2];
    return {{keys, tile.key_offsets}, {values, tile.value_offsets}, tile.begin, tile.end};
  }

  // One tile, one KV head, all query vectors of the item; fetches what comes next.
  void attend_tile(int64_t start, int64_t head, const Source<T>& from, const Source<T>& next,
                   State state) {
    const int64_t first = head * padded_queries_;
    Upcoming<T> upcoming(from, next, args_);
    products_.score(first, queries_, from, upcoming, scores_);
    softmax(start, first, state);
    products_.add_values(scores_, queries_, from, upcoming, state.values + first * padded_dim_);
  }

  // Scores become weights; maxima, sums and what has been added up so far are brought up to date.
  void softmax(int64_t start, int64_t first, State state) {
    const int64_t group = args_.group();
    const float softcap = static_cast<float>(args_.softcap);
    int64_t i = 0;
    for (int64_t token = 0; token < item_.num_tokens; ++token) {
      const int64_t position = item_.position + token;
      const int64_t low = args_.first_visible(position) - start;
      const int64_t high = position + 1 - start;
      for (int64_t g = 0; g < group; ++g, ++i) {
        float* scores = scores_ + i * kTile;
        if (softcap != 0) cap_scores(scores, softcap);
        if (low > 0 || high < kTile) hide_scores(scores, low, high);
        softmax_tile(scores, state, first + i, padded_dim_);
      }
    }
  }

  void finish() {
    for_each_query([&](int64_t q, int64_t token, int64_t query_head) {
      if (args_.sinks != nullptr) add_sink(total_, q, args_.sinks[query_head], padded_dim_);
      Query* to = static_cast<Query*>(args_.output);
      store_divided(total_.values + q * padded_dim_, total_.sum[q], args_.value_dim,
                    to + (token * args_.num_heads + query_head) * args_.value_dim);
    });
  }

  const AttentionArguments& args_;
  const Item& item_;
  const int64_t queries_, padded_queries_;  // of a KV head
  const int64_t all_;                       // over the item's heads, padded
  const int64_t padded_dim_;
  const State total_, split_;
  float* const scores_;
  Products products_;
  Tile tiles_[2];
};

template <class Query, class T, class Products>
struct ItemEntry {
  using Runner = ItemRunner<Query, T, Products>;

  static void run(const AttentionArguments& args, const Item& item, float* scratch, float* partial,
                  int64_t partial_stride) {
    Runner(args, item, scratch).run(partial, partial_stride);
  }

  static void merge(const AttentionArguments& args, const Item& item, int64_t num_splits,
                    float* scratch, float* partial, int64_t partial_stride) {
    Runner(args, item, scratch).merge(num_splits, partial, partial_stride);
  }

  static constexpr ItemKernel kKernel = {Products::kQueryMultiple, Runner::scratch_floats, run,
                                         merge};
};

}  // namespace HEADRACE_ISA
}  // namespace headrace
