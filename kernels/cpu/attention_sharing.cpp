// Finds shared splits: groups splits by their blocks in a hash table, then joins groups of the same
// chunks that follow each other.

#include "attention_sharing.h"

#include <algorithm>

namespace headrace {
namespace {

constexpr size_t kNone = static_cast<size_t>(-1);

// One split of a chunk. A chunk's entries lie next to each other, in the order of splits.
struct Entry {
  size_t chunk;
  int64_t split;
  size_t next;  // entry of the group
};

// Entries that lie in the same blocks, in the order of chunks.
struct Group {
  size_t first, last;
  size_t size;
};

class Finder {
 public:
  Finder(const AttentionArguments& args, const std::vector<Chunk>& chunks)
      : args_(args), chunks_(chunks) {}

  std::vector<SharedSplits> find() {
    add_entries();
    if (entries_.empty() || entries_.front().chunk == entries_.back().chunk) return {};
    fill_groups();
    std::vector<SharedSplits> shared;
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].size < 2) continue;
      if (i > 0 && continues(groups_[i - 1], groups_[i])) {
        ++shared.back().num_splits;
      } else {
        shared.push_back(listed(groups_[i]));
      }
    }
    std::stable_sort(
        shared.begin(), shared.end(),
        [](const SharedSplits& a, const SharedSplits& b) { return a.first_split < b.first_split; });
    return shared;
  }

 private:
  void add_entries() {
    for (size_t i = 0; i < chunks_.size(); ++i) {
      const Chunk& chunk = chunks_[i];
      if (chunk.num_tokens * args_.group() >= kManyQueries) continue;
      const int64_t last = chunk.position + chunk.num_tokens - 1;
      const int64_t stop = (chunk.position + 1) / kSplit;
      for (int64_t split = rounded_up(args_.first_visible(last), kSplit) / kSplit; split < stop;
           ++split) {
        entries_.push_back({i, split, kNone});
      }
    }
  }

  void fill_groups() {
    size_t size = 16;
    while (size < 2 * entries_.size()) size *= 2;
    std::vector<size_t> table(size, kNone);
    for (size_t i = 0; i < entries_.size(); ++i) {
      size_t place = hash(entries_[i]) & (size - 1);
      while (table[place] != kNone &&
             !has_same_blocks(entries_[i], entries_[groups_[table[place]].first])) {
        place = (place + 1) & (size - 1);
      }
      if (table[place] == kNone) {
        table[place] = groups_.size();
        groups_.push_back({i, i, 0});
      }
      add(i, table[place]);
    }
  }

  void add(size_t entry, size_t group) {
    Group& to = groups_[group];
    if (to.size > 0) entries_[to.last].next = entry;
    to.last = entry;
    ++to.size;
  }

  const int32_t* blocks(const Entry& entry) const {
    return args_.block_table + chunks_[entry.chunk].row * args_.block_table_stride;
  }

  int64_t last_block(int64_t split) const { return ((split + 1) * kSplit - 1) / args_.block_size; }

  // Of the last block: where that is the same, all are, but for tables that nobody makes.
  size_t hash(const Entry& entry) const {
    const auto block = static_cast<uint32_t>(blocks(entry)[last_block(entry.split)]);
    const uint64_t both = static_cast<uint64_t>(entry.split) << 32 | block;
    return static_cast<size_t>(both * 0x9e3779b97f4a7c15u >> 32);
  }

  bool has_same_blocks(const Entry& a, const Entry& b) const {
    if (a.split != b.split) return false;
    const int64_t first = a.split * kSplit / args_.block_size;
    const int64_t stop = last_block(a.split) + 1;
    return std::equal(blocks(a) + first, blocks(a) + stop, blocks(b) + first);
  }

  // Whether `next`, the group founded after this one, has the following split of the same chunks.
  bool continues(const Group& group, const Group& next) const {
    if (next.size != group.size) return false;
    size_t later = next.first;
    for (size_t i = group.first; i != kNone; i = entries_[i].next, later = entries_[later].next) {
      const Entry &entry = entries_[i], &other = entries_[later];
      if (other.chunk != entry.chunk || other.split != entry.split + 1) return false;
    }
    return true;
  }

  SharedSplits listed(const Group& group) const {
    SharedSplits shared{{}, entries_[group.first].split, 1};
    shared.chunks.reserve(group.size);
    for (size_t i = group.first; i != kNone; i = entries_[i].next) {
      shared.chunks.push_back(static_cast<int64_t>(entries_[i].chunk));
    }
    return shared;
  }

  const AttentionArguments& args_;
  const std::vector<Chunk>& chunks_;
  std::vector<Entry> entries_;
  std::vector<Group> groups_;
};

}  // namespace

std::vector<SharedSplits> find_shared(const AttentionArguments& args,
                                      const std::vector<Chunk>& chunks) {
  return Finder(args, chunks).find();
}

}  // namespace headrace
