// The two products of attention for one KV head and tile, behind one interface: for few query
// vectors straight from the cache, for many from packed copies. Both give the same bits.
#pragma once

#include "attention_values.h"

namespace headrace {
namespace HEADRACE_ISA {

template <class T>
class FewProducts {
 public:
  // The query vectors of a head take up the room of a multiple of this.
  static constexpr int64_t kQueryMultiple = 1;

  // Scratch memory for `queries` query vectors over all heads.
  static int64_t num_floats(const AttentionArguments& args, int64_t queries) {
    return queries * padded_key_dim(args.key_dim) + kTile * args.padded_value_dim();
  }

  FewProducts(const AttentionArguments& args, int64_t queries, float* scratch)
      : args_(args), query_(scratch), values_(scratch + queries * padded_key_dim(args.key_dim)) {}

  template <class Query>
  void load_query(int64_t q, const Query* from) {
    const float scale = static_cast<float>(args_.scale);
    load_query_row(from, args_.key_dim, scale, query_ + q * padded_key_dim(args_.key_dim));
  }

  // scores: [queries, kTile]; written are whole vectors around the source's visible keys.
  void score(int64_t first, int64_t queries, const Source<T>& from, Upcoming<T>& upcoming,
             float* scores) {
    score_few(query_ + first * padded_key_dim(args_.key_dim), queries, from.keys, args_.key_dim,
              from.begin / kWidth * kWidth, rounded_up(from.end, kWidth), upcoming, scores);
  }

  // sums: [queries, padded_value_dim]; weights become unspecified.
  void add_values(float* weights, int64_t queries, const Source<T>& from, Upcoming<T>& upcoming,
                  float* sums) {
    const int64_t stride = args_.padded_value_dim();
    const WeightedSum task{weights, from.begin, from.end, sums, stride};
    if (args_.value_dim % kChunk == 0) {
      const StoredValues<T> values{from.values, upcoming, pass_mask(args_.value_dim)};
      add_weighted(task, values, queries, args_.value_dim);
    } else {
      pack_values(from.values, from.begin, from.end, args_.value_dim, stride, upcoming, values_);
      add_weighted(task, PackedValues{values_, stride}, queries, stride);
    }
  }

 private:
  const AttentionArguments& args_;
  float *query_, *values_;
};

template <class T>
class ManyProducts {
 public:
  static constexpr int64_t kQueryMultiple = 1;

  static int64_t num_floats(const AttentionArguments& args, int64_t queries) {
    return (queries + kTile) * padded_key_dim(args.key_dim) + kTile * args.padded_value_dim();
  }

  ManyProducts(const AttentionArguments& args, int64_t queries, float* scratch)
      : args_(args),
        query_(scratch),
        keys_(query_ + queries * padded_key_dim(args.key_dim)),
        values_(keys_ + kTile * padded_key_dim(args.key_dim)) {}

  template <class Query>
  void load_query(int64_t q, const Query* from) {
    load_query_row(from, args_.key_dim, static_cast<float>(args_.scale), keys_);
    spread_query_row(keys_, args_.key_dim, query_ + q * padded_key_dim(args_.key_dim));
  }

  void score(int64_t first, int64_t queries, const Source<T>& from, Upcoming<T>& upcoming,
             float* scores) {
    const int64_t begin = from.begin / kWidth * kWidth, end = rounded_up(from.end, kWidth);
    pack_keys(from.keys, args_.key_dim, begin, end, upcoming, keys_);
    score_many(query_ + first * padded_key_dim(args_.key_dim), queries, keys_, args_.key_dim, begin,
               end, scores);
  }

  void add_values(float* weights, int64_t queries, const Source<T>& from, Upcoming<T>& upcoming,
                  float* sums) {
    const int64_t stride = args_.padded_value_dim();
    pack_values(from.values, from.begin, from.end, args_.value_dim, stride, upcoming, values_);
    const WeightedSum task{weights, from.begin, from.end, sums, stride};
    add_weighted(task, PackedValues{values_, stride}, queries, stride);
  }

 private:
  const AttentionArguments& args_;
  float *query_, *keys_, *values_;
};

}  // namespace HEADRACE_ISA
}  // namespace headrace
