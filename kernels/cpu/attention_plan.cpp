// Cuts the rows of a call into items of similar cost.
//
// A row's new tokens are cut into chunks that share the fetching of keys. What chunks have in
// common is planned once for all of them (attention_sharing.h), then the splits that are a chunk's
// own. Each of these wholes is cut by splits and by heads until its items are as small as the
// balance of threads asks for. A whole that is not cut by splits writes its output itself; all
// others leave states, which are merged per chunk and heads when the last of them is there.

#include "attention_plan.h"

#include <algorithm>
#include <stdexcept>
#include <tuple>

#include "attention_sharing.h"
#include "threads.h"

namespace headrace {
namespace {

// From this many query vectors on, an item has one KV head: it is bound by arithmetic. With fewer
// it is bound by memory and takes all heads, so that whole blocks are read as they lie in memory.
constexpr int64_t kOneHeadFrom = 32;
// What fetching and converting a tile of keys and values costs, in query vectors, by kind. Measured
// for float32 and bfloat16; 8-bit floats take as long as bfloat16.
constexpr int64_t kTileOverhead[kNumKinds] = {16, 8, 8, 8};
// Costs are in tiles times query vectors, 0.1 to 0.3 microseconds. Less is not worth another item.
// (A team's threads take items in no time, and what is left over at the end counts.)
constexpr double kSmallestItem = 200, kSmallestTeamItem = 40;
// Less is not worth waking another thread, which takes up to 50 microseconds, or none in a team.
constexpr int64_t kSmallestShare = 1000, kSmallestTeamShare = 40;
// More items than threads, so that all finish at about the same time.
constexpr int64_t kItemsPerThread = 16;

constexpr int64_t kNone = -1;

// Tiles of keys that are fetched for one head. All chunks have the keys of the first one.
int64_t tiles_of_head(const AttentionArguments& args, const Item& item, const Chunk& first) {
  const int64_t stop = std::min(first.position + first.num_tokens,
                                (item.first_split + item.num_splits) * kSplit);
  const int64_t start = std::max(args.first_visible(first.position), item.first_split * kSplit);
  return rounded_up(stop, kTile) / kTile - start / kTile;
}

class Planner {
 public:
  Planner(const AttentionKernels& kernels, const AttentionArguments& args)
      : kernels_(kernels), args_(args) {}

  Plan make() {
    for (int64_t row = 0; row < args_.num_rows; ++row) {
      if (!is_valid(row)) throw std::out_of_range("a row leaves the cache");
      add_chunks(row);
    }
    add_wholes();
    double total = 0;
    for (const Item& whole : wholes_) total += whole.cost;
    const bool is_team = Team::current() != nullptr;
    const int64_t worth =
        static_cast<int64_t>(total) / (is_team ? kSmallestTeamShare : kSmallestShare);
    plan_.num_threads = std::clamp<int64_t>(worth, 1, std::max<int64_t>(args_.num_threads, 1));
    const double share = total / static_cast<double>(plan_.num_threads * kItemsPerThread);
    const double limit = plan_.num_threads > 1
                             ? std::max(share, is_team ? kSmallestTeamItem : kSmallestItem)
                             : total + 1;
    for (const Item& whole : wholes_) cut(whole, limit);
    finish_targets();
    std::stable_sort(plan_.items.begin(), plan_.items.end(),
                     [](const Item& a, const Item& b) { return a.cost > b.cost; });
    return std::move(plan_);
  }

 private:
  // Whether everything that the row reads lies within the caches and the tokens.
  bool is_valid(int64_t row) const {
    const int64_t start = args_.cu_seqlens_q[row], stop = args_.cu_seqlens_q[row + 1];
    const int64_t seq_len = args_.seq_lens[row];
    if (start < 0 || stop < start || stop > args_.num_tokens) return false;
    if (seq_len < stop - start) return false;
    if (start == stop) return true;
    const int32_t* table = args_.block_table + row * args_.block_table_stride;
    const int64_t first = args_.first_visible(seq_len - (stop - start)) / args_.block_size;
    const int64_t last = (seq_len - 1) / args_.block_size;
    if (last >= args_.table_width) return false;
    return std::all_of(table + first, table + last + 1,
                       [&](int32_t block) { return block >= 0 && block < args_.num_blocks; });
  }

  void add_chunks(int64_t row) {
    const int64_t start = args_.cu_seqlens_q[row];
    const int64_t num_tokens = args_.cu_seqlens_q[row + 1] - start;
    const int64_t position = args_.seq_lens[row] - num_tokens;
    const int64_t step = std::max<int64_t>(1, kMaxQueries / args_.group());
    for (int64_t token = 0; token < num_tokens; token += step) {
      plan_.chunks.push_back(
          {row, start + token, std::min(step, num_tokens - token), position + token});
    }
  }

  const Chunk& chunk(int64_t index) const { return plan_.chunks[static_cast<size_t>(index)]; }

  int64_t first_split(const Chunk& chunk) const {
    return args_.first_visible(chunk.position) / kSplit;
  }

  static int64_t stop_split(const Chunk& chunk) {
    return (chunk.position + chunk.num_tokens - 1) / kSplit + 1;
  }

  // What is shared, then what lies between that in each chunk.
  void add_wholes() {
    const std::vector<Chunk> chunks = plan_.chunks;
    const std::vector<SharedSplits> shared = find_shared(args_, chunks);
    target_of_chunk_.assign(chunks.size(), kNone);
    std::vector<int64_t> next(chunks.size());
    for (size_t i = 0; i < chunks.size(); ++i) next[i] = first_split(chunks[i]);
    for (const SharedSplits& splits : shared) {
      for (const int64_t index : splits.chunks) {
        const auto i = static_cast<size_t>(index);
        if (target_of_chunk_[i] == kNone) {
          target_of_chunk_[i] = add_target(chunks[i], 0, args_.num_kv_heads);
        }
        add_whole(index, next[i], splits.first_split);
        next[i] = splits.first_split + splits.num_splits;
      }
      add_shared(splits);
    }
    for (size_t i = 0; i < chunks.size(); ++i) {
      add_whole(static_cast<int64_t>(i), next[i], stop_split(chunks[i]));
    }
  }

  // All heads of a chunk, the splits [first, stop).
  void add_whole(int64_t chunk_index, int64_t first, int64_t stop) {
    if (first >= stop) return;
    Item whole{};
    whole.first_chunk = chunk_index;
    whole.num_chunks = 1;
    whole.num_queries = chunk(chunk_index).num_tokens * args_.group();
    whole.kernel = &kernel(whole.num_queries);
    whole.num_heads = args_.num_kv_heads;
    whole.first_split = first;
    whole.num_splits = stop - first;
    whole.cost = cost(whole);
    wholes_.push_back(whole);
  }

  // Lots of at most about kMaxQueries query vectors, of equal size.
  void add_shared(const SharedSplits& splits) {
    int64_t total = 0, taken = 0;
    for (const int64_t index : splits.chunks) total += chunk(index).num_tokens * args_.group();
    const int64_t num_lots = rounded_up(total, kMaxQueries) / kMaxQueries;
    auto next = splits.chunks.begin();
    for (int64_t lot = 1; lot <= num_lots; ++lot) {
      Item whole{};
      whole.first_chunk = static_cast<int64_t>(plan_.chunks.size());
      for (; taken < total * lot / num_lots; ++next, ++whole.num_chunks) {
        const Chunk copy = chunk(*next);
        plan_.chunks.push_back(copy);
        target_of_chunk_.push_back(target_of_chunk_[static_cast<size_t>(*next)]);
        whole.num_queries += copy.num_tokens * args_.group();
        taken += copy.num_tokens * args_.group();
      }
      whole.kernel = &kernel_of_shared(whole.num_queries);
      whole.num_heads = args_.num_kv_heads;
      whole.first_split = splits.first_split;
      whole.num_splits = splits.num_splits;
      whole.cost = cost(whole);
      wholes_.push_back(whole);
    }
  }

  const ItemKernel& kernel(int64_t num_queries) const {
    const bool is_many = num_queries >= kManyQueries;
    return (is_many ? kernels_.many : kernels_.few)[args_.kind()];
  }

  // A row's bits may not depend on how many others share its keys.
  const ItemKernel& kernel_of_shared(int64_t num_queries) const {
    return kernel(kernels_.have_same_bits[args_.kind()] ? num_queries : 1);
  }

  static int64_t padded_queries(const Item& item) {
    return rounded_up(item.num_queries, item.kernel->query_multiple);
  }

  // Keys are fetched once for all query vectors of an item, which all chunks of it have in common.
  double cost(const Item& item) const {
    const int64_t tiles = item.num_heads * tiles_of_head(args_, item, chunk(item.first_chunk));
    return static_cast<double>(tiles * (padded_queries(item) + kTileOverhead[args_.kind()]));
  }

  // Into items of at most `limit`: first by splits, then by heads.
  void cut(const Item& whole, double limit) {
    const int64_t queries = padded_queries(whole);
    int64_t heads = queries >= kOneHeadFrom ? 1 : kMaxQueries / queries;
    heads = std::min(heads, whole.num_heads);
    const double per_head = whole.cost / static_cast<double>(whole.num_heads);
    const double cost_of_heads = per_head * static_cast<double>(heads);
    const int64_t wanted = static_cast<int64_t>(cost_of_heads / limit) + 1;
    const int64_t pieces = std::min(whole.num_splits, wanted);
    const double affordable = limit * static_cast<double>(pieces) / per_head;
    heads = std::clamp<int64_t>(static_cast<int64_t>(affordable), 1, heads);
    const bool has_target = target_of_chunk_[static_cast<size_t>(whole.first_chunk)] != kNone;
    for (int64_t head = 0; head < whole.num_heads; head += heads) {
      Item item = whole;
      item.first_head = head;
      item.num_heads = std::min(heads, whole.num_heads - head);
      reserve_scratch(item.kernel->scratch_floats(args_, item.num_heads * queries));
      if (has_target) {
        cut_splits(item, pieces, kNone);
      } else if (pieces > 1) {
        const Chunk& only = chunk(item.first_chunk);
        cut_splits(item, pieces, add_target(only, item.first_head, item.num_heads));
      } else {
        item.cost = cost(item);
        plan_.items.push_back(item);
      }
    }
  }

  // `target`: where the states go; kNone: to the chunks' own targets.
  void cut_splits(Item item, int64_t pieces, int64_t target) {
    const int64_t first = item.first_split, total = item.num_splits;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      item.first_split = first + total * piece / pieces;
      item.num_splits = first + total * (piece + 1) / pieces - item.first_split;
      item.cost = cost(item);
      add_parts(item, target);
      plan_.items.push_back(item);
    }
  }

  void add_parts(Item& item, int64_t target) {
    bool is_first = true;
    for (int64_t i = item.first_chunk; i < item.first_chunk + item.num_chunks; ++i) {
      is_first &= first_split(chunk(i)) == item.first_split;
    }
    item.num_states = is_first ? 1 : item.num_splits;
    item.first_float = plan_.num_state_floats;
    item.first_target = static_cast<int64_t>(plan_.targets_of_items.size());
    const int64_t queries = padded_queries(item);
    int64_t first_query = 0;
    for (int64_t i = item.first_chunk; i < item.first_chunk + item.num_chunks; ++i) {
      const int64_t to = target != kNone ? target : target_of_chunk_[static_cast<size_t>(i)];
      plan_.parts.push_back({to, item.first_split, item.first_head, item.num_heads,
                             item.num_states, item.first_float, queries, first_query});
      plan_.targets_of_items.push_back(to);
      first_query += chunk(i).num_tokens * args_.group();
    }
    plan_.num_state_floats +=
        item.num_states * State::num_floats(item.num_heads * queries, args_.padded_value_dim());
  }

  int64_t add_target(const Chunk& of, int64_t first_head, int64_t num_heads) {
    plan_.targets.push_back({of, first_head, num_heads, 0, 0});
    const int64_t queries = num_heads * of.num_tokens * args_.group();
    reserve_scratch(State::num_floats(queries, args_.padded_value_dim()));
    return static_cast<int64_t>(plan_.targets.size()) - 1;
  }

  void reserve_scratch(int64_t floats) {
    plan_.num_scratch_floats = std::max(plan_.num_scratch_floats, rounded_up(floats, kPadding));
  }

  // Lays the parts of a target next to each other, in the order in which they are merged.
  void finish_targets() {
    std::sort(plan_.parts.begin(), plan_.parts.end(), [](const Part& a, const Part& b) {
      return std::tie(a.target, a.first_split, a.first_head) <
             std::tie(b.target, b.first_split, b.first_head);
    });
    for (size_t i = 0; i < plan_.parts.size(); ++i) {
      Target& target = plan_.targets[static_cast<size_t>(plan_.parts[i].target)];
      if (target.num_parts++ == 0) target.first_part = static_cast<int64_t>(i);
    }
  }

  const AttentionKernels& kernels_;
  const AttentionArguments& args_;
  std::vector<Item> wholes_;
  std::vector<int64_t> target_of_chunk_;  // kNone: it shares nothing
  Plan plan_;
};

}  // namespace

Plan make_plan(const AttentionKernels& kernels, const AttentionArguments& args) {
  return Planner(kernels, args).make();
}

int64_t num_tiles(const AttentionArguments& args, const Plan& plan) {
  int64_t total = 0;
  for (const Item& item : plan.items) {
    const Chunk& first = plan.chunks[static_cast<size_t>(item.first_chunk)];
    total += item.num_heads * tiles_of_head(args, item, first);
  }
  return total;
}

}  // namespace headrace
