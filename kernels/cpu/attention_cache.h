// Reading the paged cache: where a tile's keys and values lie, and fetching the next ones in time.
#pragma once

#include "attention.h"
#include "float8.h"

namespace headrace {
namespace HEADRACE_ISA {

// Rows are read in chunks of two registers, see load_vectors.
constexpr int64_t kChunk = 2 * kWidth;

// Positions [start, start + kTile) of a row, of which [begin, end), counted from the start, are
// visible to some token of the item. Offsets count elements and lead to KV head 0. Those beside the
// range lead to a position within it: keys are fetched in whole vectors, and what no token sees is
// hidden later.
struct Tile {
  int64_t start, begin, end;
  int64_t key_offsets[kTile], value_offsets[kTile];

  // The tile that holds `position`; [first, stop) are visible.
  void locate(const AttentionArguments& args, int64_t row, int64_t position, int64_t first,
              int64_t stop) {
    start = position / kTile * kTile;
    begin = first > start ? first - start : 0;
    end = stop < start + kTile ? stop - start : kTile;
    const int32_t* table = args.block_table + row * args.block_table_stride;
    int64_t block = (start + begin) / args.block_size;
    int64_t offset = (start + begin) % args.block_size;
    for (int64_t i = begin; i < end; ++i) {
      key_offsets[i] = table[block] * args.key_strides[0] + offset * args.key_strides[1];
      value_offsets[i] = table[block] * args.value_strides[0] + offset * args.value_strides[1];
      if (++offset == args.block_size) {
        offset = 0;
        ++block;
      }
    }
    fill(0, begin);
    fill(end, kTile);
  }

 private:
  void fill(int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      key_offsets[i] = key_offsets[begin];
      value_offsets[i] = value_offsets[begin];
    }
  }
};

// Keys or values of one KV head: rows at base + offsets[i].
template <class T>
struct Rows {
  const T* base;
  const int64_t* offsets;
  const T* operator[](int64_t i) const { return base + offsets[i]; }
};

// The chunk of a row that begins at `start`; zeros behind the row's end.
template <class T>
HEADRACE_INLINE void load_chunk(const T* row, int64_t start, int64_t dim, Vec (&to)[2]) {
  if (start + kChunk <= dim) return load_vectors(row + start, to);
  T padded[kChunk] = {};
  __builtin_memcpy(padded, row + start, (dim - start) * sizeof(T));
  load_vectors(padded, to);
}

// The same chunk as words of two elements.
HEADRACE_INLINE BitVec load_pairs(const BFloat16* row, int64_t start, int64_t dim) {
  if (start + kChunk <= dim) return load_as<BitVec>(row + start);
  BFloat16 padded[kChunk] = {};
  if (start < dim) __builtin_memcpy(padded, row + start, (dim - start) * sizeof(BFloat16));
  return load_as<BitVec>(padded);
}

// Keys and values of a tile and a KV head.
template <class T>
struct Source {
  Rows<T> keys, values;
  int64_t begin, end;  // the visible part of the tile
};

// The keys and values that are needed next, fetched from memory row by row while others are
// computed with. At an even pace: the processor has few buffers for lines that are under way, and
// loads of the computation need them too.
template <class T>
class Upcoming {
 public:
  // How many rows were fetched before the first of them is used.
  static constexpr int64_t kAhead = 48;

  Upcoming(const Source<T>& current, const Source<T>& next, const AttentionArguments& args)
      : current_(current), next_(next), key_dim_(args.key_dim), value_dim_(args.value_dim) {}

  HEADRACE_INLINE_MEMBER void fetch_row() {
    if (done_ == kAhead + 2 * kTile) return;
    const int64_t row = done_++;
    const Source<T>& source = row < 2 * kTile ? current_ : next_;
    const int64_t i = row % (2 * kTile);
    if (i < kTile) {
      fetch(source.keys[i], key_dim_);
    } else {
      fetch(source.values[i - kTile], value_dim_);
    }
  }

 private:
  HEADRACE_INLINE_MEMBER static void fetch(const T* row, int64_t dim) {
    for (int64_t i = 0; i < dim; i += 64 / static_cast<int64_t>(sizeof(T))) prefetch(row + i);
  }

  const Source<T>&current_, &next_;
  const int64_t key_dim_, value_dim_;
  int64_t done_ = kAhead;
};

}  // namespace HEADRACE_ISA
}  // namespace headrace
