// Copies new keys and values into the paged cache.

#include <algorithm>
#include <cstring>

#include "elementwise.h"

namespace headrace {
namespace {

// The heads of one token, in one piece where they lie so on both sides.
void copy_heads(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t heads,
                int64_t bytes) {
  if (from_stride == bytes && to_stride == bytes) {
    std::memcpy(to, from, static_cast<size_t>(heads * bytes));
    return;
  }
  for (int64_t head = 0; head < heads; ++head) {
    std::memcpy(to + head * to_stride, from + head * from_stride, static_cast<size_t>(bytes));
  }
}

}  // namespace

bool has_valid_slots(const WriteKVArguments& args) {
  const int64_t num_slots = args.num_blocks * args.block_size;
  return std::all_of(args.slot_mapping, args.slot_mapping + args.num_tokens,
                     [&](int64_t slot) { return slot < num_slots; });
}

void write_kv(const WriteKVArguments& args, int64_t begin, int64_t end) {
  for (int64_t token = begin; token < end; ++token) {
    const int64_t slot = args.slot_mapping[token];
    if (slot < 0) continue;
    const int64_t block = slot / args.block_size, offset = slot % args.block_size;
    copy_heads(
        args.key + token * args.key_strides[0], args.key_strides[1],
        args.key_cache + block * args.key_cache_strides[0] + offset * args.key_cache_strides[1],
        args.key_cache_strides[2], args.num_kv_heads, args.key_bytes);
    copy_heads(args.value + token * args.value_strides[0], args.value_strides[1],
               args.value_cache + block * args.value_cache_strides[0] +
                   offset * args.value_cache_strides[1],
               args.value_cache_strides[2], args.num_kv_heads, args.value_bytes);
  }
}

}  // namespace headrace
