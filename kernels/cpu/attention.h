// Paged attention: arguments, the pieces that a call is cut into, and what an instruction set
// implements of it.
//
// One query head's result for one token is defined by positions alone, so that its bits depend
// neither on the other tokens and rows of the call, nor on threads. Keys are cut at the multiples
// of kSplit positions: a split has its own running maximum, sum and weighted values (online
// softmax), and splits are merged in the order of positions. Inside of a split, tiles of kTile
// positions follow each other, cut at multiples of kTile; keys that the token does not see change
// nothing. An item of the plan is any piece of that: some tokens, some KV heads, some splits.
//
// Rows that begin with the same text have the same blocks of the cache there. Such splits are
// computed once for all of these rows, by an item that holds the query vectors of several: keys and
// values are fetched once, and each row takes its own states out of the item's.
#pragma once

#include <cstdint>

// These functions are used by code for several instruction sets: an own copy of them in one of
// these could be the one that the linker keeps for all.
#define HEADRACE_INLINE_MEMBER __attribute__((always_inline))

namespace headrace {

constexpr int64_t kTile = 64;
constexpr int64_t kSplit = 256;
// How many query vectors meet each key that is fetched: an item's tokens times the query heads that
// share a KV head.
constexpr int64_t kMaxQueries = 128;
// From this many query vectors on, it pays to copy keys and values into a better order first.
constexpr int64_t kManyQueries = 24;
// Values are kept in rows of whole vectors.
constexpr int64_t kPadding = 32;

HEADRACE_INLINE_MEMBER constexpr int64_t rounded_up(int64_t count, int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

enum DataType : int64_t { kFloat32 = 0, kBFloat16 = 1, kFloat8 = 2 };

// Pairs of types: query and caches alike, then either query over caches of 8-bit floats.
constexpr int64_t kNumPlainKinds = 2, kNumKinds = 4;

// Mirrored in kernels/paged_attention/cpu.py. Strides count elements.
struct AttentionArguments {
  const void* query;
  const void* key_cache;
  const void* value_cache;
  void* output;  // [T, Hq, Dv], contiguous
  const int32_t* block_table;
  const int32_t* cu_seqlens_q;
  const int32_t* seq_lens;
  const float* sinks;  // null: none
  int64_t data_type;   // of query and output: kFloat32 or kBFloat16
  int64_t cache_type;  // the same, or kFloat8
  int64_t num_tokens, num_rows, num_heads, num_kv_heads, key_dim, value_dim;
  int64_t num_blocks, block_size, table_width;
  int64_t query_strides[2];    // token, head
  int64_t key_strides[3];      // block, offset, head
  int64_t value_strides[3];    // block, offset, head
  int64_t block_table_stride;  // row
  int64_t sliding_window;      // 0: none
  int64_t num_threads;
  double scale;
  double softcap;  // 0: none

  // Which of the kernels serves these types.
  HEADRACE_INLINE_MEMBER int64_t kind() const {
    return cache_type == kFloat8 ? kNumPlainKinds + data_type : data_type;
  }
  HEADRACE_INLINE_MEMBER int64_t group() const { return num_heads / num_kv_heads; }
  HEADRACE_INLINE_MEMBER int64_t padded_value_dim() const {
    return rounded_up(value_dim, kPadding);
  }
  // The first position that a token at `position` sees.
  HEADRACE_INLINE_MEMBER int64_t first_visible(int64_t position) const {
    return sliding_window == 0 || position < sliding_window ? 0 : position - sliding_window + 1;
  }
};

struct ItemKernel;

// Tokens [first_token, +num_tokens) of the flat row, at positions [position, ...) of their row.
struct Chunk {
  int64_t row, first_token, num_tokens, position;
};

// Chunks, KV heads [first_head, +num_heads), splits [first_split, +num_splits). Several chunks are
// of rows with the same keys in these splits, and each of their tokens sees all of these keys.
struct Item {
  const ItemKernel* kernel;
  int64_t first_chunk, num_chunks;  // of the plan's
  int64_t num_queries;              // query vectors of a head
  int64_t first_head, num_heads;
  int64_t first_split, num_splits;
  // What it leaves behind. 0: it writes the output. 1: its splits merged, which only the first ones
  // of a row may be. Else a state for each split.
  int64_t num_states;
  int64_t first_float;   // of its states
  int64_t first_target;  // of as many as chunks
  double cost;
};

// The result of a split, or of several merged, for each head of an item and each query vector of
// it: [heads * queries].
struct State {
  float* maximum;
  float* sum;
  float* values;  // [heads * queries, padded_value_dim]

  HEADRACE_INLINE_MEMBER static int64_t num_floats(int64_t queries, int64_t padded_value_dim) {
    return 2 * rounded_up(queries, kPadding) + queries * padded_value_dim;
  }
  HEADRACE_INLINE_MEMBER static State at(float* memory, int64_t queries) {
    const int64_t padded = rounded_up(queries, kPadding);
    return {memory, memory + padded, memory + 2 * padded};
  }
  HEADRACE_INLINE_MEMBER State from(int64_t query, int64_t padded_value_dim) const {
    return {maximum + query, sum + query, values + query * padded_value_dim};
  }
};

// A chunk's share of an item's states.
struct Part {
  int64_t target;
  int64_t first_split;
  int64_t first_head, num_heads;
  int64_t num_states, first_float;
  int64_t head_queries;  // room for query vectors of a head in a state
  int64_t first_query;   // the chunk's first among these
};

// A chunk and KV heads whose states several items compute: the last one to finish merges them.
struct Target {
  Chunk chunk;
  int64_t first_head, num_heads;
  int64_t first_part, num_parts;  // in the order of splits
};

// How items are computed.
struct ItemKernel {
  // The query vectors of a head take up the room of a multiple of this in states.
  int64_t query_multiple;
  // Floats of scratch memory for an item with so many query vectors over all of its heads.
  int64_t (*scratch_floats)(const AttentionArguments&, int64_t queries);
  // All splits of the item, one after another. Writes the output or, where `states` is not null,
  // the item's states one behind the other.
  void (*run)(const AttentionArguments&, const Item&, const Chunk* chunks, float* scratch,
              float* states);
  // Merges parts, in their order, into the output of a target. `states` are those of all items.
  void (*merge)(const AttentionArguments&, const Target&, const Part* parts, float* scratch,
                float* states);
};

// By kind; for items with fewer than kManyQueries query vectors of a head, and for others; and
// whether both give the same bits. Where they do not, few is for what several rows share.
struct AttentionKernels {
  ItemKernel few[kNumKinds], many[kNumKinds];
  bool have_same_bits[kNumKinds];
};

// Returns one of the codes of status.h.
int paged_attention(const AttentionKernels&, const AttentionArguments&);

// Mirrored in kernels/paged_attention/cpu.py.
struct TileCount {
  AttentionArguments call;
  int64_t num_tiles;  // the result: how many tiles of keys, each of one KV head, the call fetches
};

// Plans the call and computes nothing. Returns one of the codes of status.h.
int count_tiles(const AttentionKernels&, TileCount&);

}  // namespace headrace
