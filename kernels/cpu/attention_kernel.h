// What one instruction set does of paged attention: running items, merging what they leave behind.
// See attention.h.
#pragma once

#include "attention_products.h"
#include "attention_softmax.h"

namespace headrace {
namespace HEADRACE_ISA {

// body(q, token, query head) for each query vector of a chunk and some KV heads; a head's begin at
// the multiples of head_queries.
template <class Body>
HEADRACE_INLINE void for_each_query(const AttentionArguments& args, const Chunk& chunk,
                                    int64_t first_head, int64_t num_heads, int64_t head_queries,
                                    const Body& body) {
  const int64_t group = args.group();
  for (int64_t head = 0; head < num_heads; ++head) {
    for (int64_t i = 0; i < chunk.num_tokens * group; ++i) {
      body(head * head_queries + i, chunk.first_token + i / group,
           (first_head + head) * group + i % group);
    }
  }
}

// The same over the chunks of an item: their query vectors follow each other.
template <class Body>
HEADRACE_INLINE void for_each_item_query(const AttentionArguments& args, const Item& item,
                                         const Chunk* chunks, int64_t head_queries,
                                         const Body& body) {
  int64_t first = 0;
  for (const Chunk* chunk = chunks; chunk < chunks + item.num_chunks; ++chunk) {
    for_each_query(args, *chunk, item.first_head, item.num_heads, head_queries,
                   [&](int64_t q, int64_t token, int64_t query_head) {
                     body(first + q, token * args.query_strides[0] +
                                         query_head * args.query_strides[1]);
                   });
    first += chunk->num_tokens * args.group();
  }
}

// The positions that are visible to some token of an item.
struct VisibleRange {
  int64_t start, stop;

  // All chunks have the keys of the first one.
  VisibleRange(const AttentionArguments& args, const Item& item, const Chunk& chunk) {
    const int64_t visible = args.first_visible(chunk.position);
    const int64_t first = item.first_split * kSplit;
    const int64_t behind = chunk.position + chunk.num_tokens;
    const int64_t end = (item.first_split + item.num_splits) * kSplit;
    start = visible > first ? visible : first;
    stop = behind < end ? behind : end;
  }
};

template <class T>
static void write_output(const AttentionArguments& args, const Chunk& chunk, int64_t first_head,
                         int64_t num_heads, int64_t head_queries, State total) {
  const int64_t padded_dim = args.padded_value_dim();
  for_each_query(args, chunk, first_head, num_heads, head_queries,
                 [&](int64_t q, int64_t token, int64_t query_head) {
                   if (args.sinks != nullptr) {
                     add_sink(total, q, args.sinks[query_head], padded_dim);
                   }
                   T* to = static_cast<T*>(args.output);
                   store_divided(total.values + q * padded_dim, total.sum[q], args.value_dim,
                                 to + (token * args.num_heads + query_head) * args.value_dim);
                 });
}

static void clear(State state, int64_t num_queries, int64_t padded_dim) {
  for (int64_t q = 0; q < num_queries; ++q) {
    state.maximum[q] = -__builtin_inff();
    state.sum[q] = 0;
  }
  for (int64_t i = 0; i < num_queries * padded_dim; i += kWidth) store(state.values + i, Vec{});
}

static void copy(State into, State from, int64_t num_queries, int64_t padded_dim) {
  __builtin_memcpy(into.maximum, from.maximum, num_queries * sizeof(float));
  __builtin_memcpy(into.sum, from.sum, num_queries * sizeof(float));
  __builtin_memcpy(into.values, from.values, num_queries * padded_dim * sizeof(float));
}

template <class T>
static void merge_parts(const AttentionArguments& args, const Target& target, const Part* parts,
                        float* scratch, float* states) {
  const int64_t queries = target.chunk.num_tokens * args.group();
  const int64_t padded_dim = args.padded_value_dim();
  const State total = State::at(scratch, target.num_heads * queries);
  for (const Part* part = parts; part < parts + target.num_parts; ++part) {
    const int64_t all = part->num_heads * part->head_queries;
    for (int64_t i = 0; i < part->num_states; ++i) {
      const int64_t first = part->first_float + i * State::num_floats(all, padded_dim);
      const State state = State::at(states + first, all);
      for (int64_t head = 0; head < part->num_heads; ++head) {
        const int64_t to = (part->first_head - target.first_head + head) * queries;
        const int64_t from = head * part->head_queries + part->first_query;
        const State into = total.from(to, padded_dim), split = state.from(from, padded_dim);
        if (part->first_split == parts->first_split && i == 0) {
          copy(into, split, queries, padded_dim);
        } else {
          merge_states(into, split, queries, padded_dim);
        }
      }
    }
  }
  write_output<T>(args, target.chunk, target.first_head, target.num_heads, queries, total);
}

// Query and output are of type Query, the caches of type T; both keep rows in the same order.
template <class Query, class T, class Products>
class ItemRunner {
 public:
  ItemRunner(const AttentionArguments& args, const Item& item, const Chunk* chunks, float* scratch)
      : args_(args),
        item_(item),
        chunks_(chunks + item.first_chunk),
        queries_(item.num_queries),
        padded_queries_(rounded_up(queries_, Products::kQueryMultiple)),
        all_(item.num_heads * padded_queries_),
        padded_dim_(args.padded_value_dim()),
        total_(State::at(scratch, all_)),
        split_(State::at(scratch + state_floats(), all_)),
        scores_(scratch + 2 * state_floats()),
        products_(args, all_, scores_ + padded_queries_ * kTile),
        range_(args, item, chunks_[0]) {}

  static int64_t scratch_floats(const AttentionArguments& args, int64_t queries) {
    return 2 * State::num_floats(queries, args.padded_value_dim()) + queries * kTile +
           Products::num_floats(args, queries);
  }

  void run(float* states) {
    load_queries();
    tile_->locate(args_, chunks_[0].row, range_.start, range_.start, range_.stop);
    const bool is_merged = item_.num_states < 2;
    const State first = states == nullptr ? total_ : State::at(states, all_);
    for (int64_t i = 0; i < item_.num_splits; ++i) {
      const State state = i == 0      ? first
                          : is_merged ? split_
                                      : State::at(states + i * state_floats(), all_);
      clear(state, all_, padded_dim_);
      attend_split(state);
      if (is_merged && i > 0) merge_states(first, state, all_, padded_dim_);
    }
    if (states != nullptr) return;
    write_output<Query>(args_, chunks_[0], item_.first_head, item_.num_heads, padded_queries_,
                        first);
  }

 private:
  int64_t state_floats() const { return State::num_floats(all_, padded_dim_); }

  void load_queries() {
    const Query* query = static_cast<const Query*>(args_.query);
    for_each_item_query(args_, item_, chunks_, padded_queries_,
                        [&](int64_t q, int64_t at) { products_.load_query(q, query + at); });
  }

  // Tiles follow each other across splits, so that the first one of a split is fetched in time.
  void attend_split(State state) {
    for (;;) {
      const int64_t next_start = tile_->start + kTile;
      const bool is_last = next_start >= range_.stop;
      if (!is_last) next_->locate(args_, chunks_[0].row, next_start, range_.start, range_.stop);
      for (int64_t head = 0; head < item_.num_heads; ++head) {
        if (head + 1 < item_.num_heads) {
          attend_tile(tile_->start, head, source(*tile_, head), source(*tile_, head + 1), state);
        } else {
          attend_tile(tile_->start, head, source(*tile_, head),
                      source(is_last ? *tile_ : *next_, 0), state);
        }
      }
      Tile* const done = tile_;
      tile_ = next_;
      next_ = done;
      if (is_last || next_start % kSplit == 0) return;
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
    int64_t q = 0;
    for (int64_t i = 0; i < item_.num_chunks; ++i) {
      const Chunk& chunk = chunks_[i];
      for (int64_t token = 0; token < chunk.num_tokens; ++token) {
        const int64_t position = chunk.position + token;
        const int64_t low = args_.first_visible(position) - start;
        const int64_t high = position + 1 - start;
        for (int64_t g = 0; g < group; ++g, ++q) {
          weigh(scores_ + q * kTile, low, high, first + q, state);
        }
      }
    }
  }

  // The keys [low, high) of the tile are visible.
  HEADRACE_INLINE_MEMBER void weigh(float* scores, int64_t low, int64_t high, int64_t q,
                                    State state) {
    if (args_.softcap != 0) cap_scores(scores, static_cast<float>(args_.softcap));
    if (low > 0 || high < kTile) hide_scores(scores, low, high);
    softmax_tile(scores, state, q, padded_dim_);
  }

  const AttentionArguments& args_;
  const Item& item_;
  const Chunk* const chunks_;
  const int64_t queries_, padded_queries_;  // of a KV head
  const int64_t all_;                       // over the item's heads, padded
  const int64_t padded_dim_;
  const State total_, split_;
  float* const scores_;
  Products products_;
  const VisibleRange range_;
  Tile tiles_[2];
  Tile *tile_ = &tiles_[0], *next_ = &tiles_[1];
};

template <class Query, class T, class Products>
struct ItemEntry {
  using Runner = ItemRunner<Query, T, Products>;

  static void run(const AttentionArguments& args, const Item& item, const Chunk* chunks,
                  float* scratch, float* states) {
    Runner(args, item, chunks, scratch).run(states);
  }

  static constexpr ItemKernel kKernel = {Products::kQueryMultiple, Runner::scratch_floats, run,
                                         merge_parts<Query>};
};

}  // namespace HEADRACE_ISA
}  // namespace headrace
