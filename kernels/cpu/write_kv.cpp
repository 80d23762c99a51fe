// Copies new keys and values into the paged cache, or rounds them on the way.

#include <algorithm>
#include <cstring>

#include "elementwise.h"

namespace headrace {
namespace {

// Writes `bytes` of keys or values as the cache has them.
struct Writer {
  const WriteKVArguments& args;
  RoundToFloat8 round;
  int64_t item_bytes;  // of an element that is rounded to one byte

  void write(const char* from, char* to, int64_t bytes) const {
    if (args.is_float8) {
      round(from, args.data_type, bytes / item_bytes, to);
    } else {
      std::memcpy(to, from, static_cast<size_t>(bytes));
    }
  }

  // The heads of one token, in one piece where they lie so on both sides.
  void write_heads(const char* from, int64_t from_stride, char* to, int64_t to_stride,
                   int64_t bytes) const {
    const int64_t stored_bytes = args.is_float8 ? bytes / item_bytes : bytes;
    if (from_stride == bytes && to_stride == stored_bytes) {
      return write(from, to, args.num_kv_heads * bytes);
    }
    for (int64_t head = 0; head < args.num_kv_heads; ++head) {
      write(from + head * from_stride, to + head * to_stride, bytes);
    }
  }
};

}  // namespace

bool has_valid_slots(const WriteKVArguments& args) {
  const int64_t num_slots = args.num_blocks * args.block_size;
  return std::all_of(args.slot_mapping, args.slot_mapping + args.num_tokens,
                     [&](int64_t slot) { return slot < num_slots; });
}

void write_kv(const WriteKVArguments& args, RoundToFloat8 round, int64_t begin, int64_t end) {
  const Writer writer{args, round, args.data_type == kFloat32 ? 4 : 2};
  for (int64_t token = begin; token < end; ++token) {
    const int64_t slot = args.slot_mapping[token];
    if (slot < 0) continue;
    const int64_t block = slot / args.block_size, offset = slot % args.block_size;
    writer.write_heads(
        args.key + token * args.key_strides[0], args.key_strides[1],
        args.key_cache + block * args.key_cache_strides[0] + offset * args.key_cache_strides[1],
        args.key_cache_strides[2], args.key_bytes);
    writer.write_heads(args.value + token * args.value_strides[0], args.value_strides[1],
                       args.value_cache + block * args.value_cache_strides[0] +
                           offset * args.value_cache_strides[1],
                       args.value_cache_strides[2], args.value_bytes);
  }
}

}  // namespace headrace
