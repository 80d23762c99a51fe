// The plan of a paged attention call: cuts the rows into items of similar cost and runs them.

#include "attention.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <vector>

#include "status.h"
#include "threads.h"

namespace headrace {
namespace {

// From this many query vectors on, an item has one KV head: it is bound by arithmetic. With fewer
// it is bound by memory and takes all heads, so that whole blocks are read as they lie in memory.
constexpr int64_t kOneHeadFrom = 32;
// What fetching and converting a tile of keys and values costs, in query vectors.
constexpr int64_t kTileOverhead = 8;
// Costs are in tiles times query vectors, about 0.1 microseconds. Less is not worth another item.
constexpr double kSmallestItem = 200;
// Less is not worth waking another thread, which takes up to 50 microseconds.
constexpr int64_t kSmallestShare = 1000;
// More items than threads, so that all finish at about the same time.
constexpr int64_t kItemsPerThread = 16;

// Items that share tokens and heads: the last one to finish merges the states of all their splits.
struct Group {
  int64_t first_split, num_splits;
  int64_t num_queries;
  int64_t first_float;  // of its states
  int64_t num_items;
};

struct Plan {
  std::vector<Item> items;
  std::vector<Group> groups;
  int64_t num_partial_floats = 0;
  int64_t num_scratch_floats = 0;  // of a thread
  int64_t num_threads = 1;
};

const ItemKernel& kernel_of(const AttentionKernels& kernels, const AttentionArguments& args,
                            const Item& item) {
  const bool is_many = item.num_tokens * args.group() >= kManyQueries;
  return (is_many ? kernels.many : kernels.few)[args.kind()];
}

class Planner {
 public:
  Planner(const AttentionKernels& kernels, const AttentionArguments& args)
      : kernels_(kernels), args_(args) {}

  Plan make() {
    std::vector<Item> wholes;
    double total = 0;
    for (int64_t row = 0; row < args_.num_rows; ++row) {
      if (!is_valid(row)) throw std::out_of_range("a row leaves the cache");
      add_row(row, wholes);
    }
    for (const Item& whole : wholes) total += whole.cost;
    const int64_t worth = static_cast<int64_t>(total) / kSmallestShare;
    plan_.num_threads = std::clamp<int64_t>(worth, 1, std::max<int64_t>(args_.num_threads, 1));
    const double share = total / static_cast<double>(plan_.num_threads * kItemsPerThread);
    const double limit = plan_.num_threads > 1 ? std::max(share, kSmallestItem) : total;
    for (const Item& whole : wholes) cut(whole, limit);
    std::stable_sort(plan_.items.begin(), plan_.items.end(),
                     [](const Item& a, const Item& b) { return a.cost > b.cost; });
    return std::move(plan_);
  }

 private:
  int64_t num_queries(const Item& item) const {
    return rounded_up(item.num_tokens * args_.group(),
                      kernel_of(kernels_, args_, item).query_multiple);
  }

  double cost(const Item& item) const {
    const int64_t last = item.position + item.num_tokens - 1;
    const int64_t start = std::max(args_.first_visible(item.position), item.first_split * kSplit);
    const int64_t stop = std::min(last + 1, (item.first_split + item.num_splits) * kSplit);
    const int64_t tiles = rounded_up(stop, kTile) / kTile - start / kTile;
    return static_cast<double>(tiles * item.num_heads * (num_queries(item) + kTileOverhead));
  }

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

  // One row, cut into groups of tokens that share the fetching of keys.
  void add_row(int64_t row, std::vector<Item>& wholes) const {
    const int64_t start = args_.cu_seqlens_q[row];
    const int64_t num_tokens = args_.cu_seqlens_q[row + 1] - start;
    const int64_t first_position = args_.seq_lens[row] - num_tokens;
    const int64_t step = std::max<int64_t>(1, kMaxQueries / args_.group());
    for (int64_t token = 0; token < num_tokens; token += step) {
      Item item{};
      item.row = row;
      item.first_token = start + token;
      item.num_tokens = std::min(step, num_tokens - token);
      item.position = first_position + token;
      item.num_heads = args_.num_kv_heads;
      item.first_split = args_.first_visible(item.position) / kSplit;
      item.num_splits = (item.position + item.num_tokens - 1) / kSplit + 1 - item.first_split;
      item.group = -1;
      item.cost = cost(item);
      wholes.push_back(item);
    }
  }

  // Into items of at most `limit`: first by splits, then by heads.
  void cut(const Item& whole, double limit) {
    const int64_t queries = num_queries(whole);
    int64_t heads = queries >= kOneHeadFrom ? 1 : kMaxQueries / queries;
    heads = std::min(heads, whole.num_heads);
    const double per_head = whole.cost / static_cast<double>(whole.num_heads);
    const double cost_of_heads = per_head * static_cast<double>(heads);
    const int64_t wanted = static_cast<int64_t>(cost_of_heads / limit) + 1;
    const int64_t pieces = std::min(whole.num_splits, wanted);
    const double affordable = limit * static_cast<double>(pieces) / per_head;
    heads = std::clamp<int64_t>(static_cast<int64_t>(affordable), 1, heads);
    for (int64_t head = 0; head < whole.num_heads; head += heads) {
      Item item = whole;
      item.first_head = head;
      item.num_heads = std::min(heads, whole.num_heads - head);
      const int64_t scratch =
          kernel_of(kernels_, args_, item).scratch_floats(args_, item.num_heads * queries);
      plan_.num_scratch_floats = std::max(plan_.num_scratch_floats, rounded_up(scratch, kPadding));
      if (pieces == 1) {
        item.cost = cost(item);
        plan_.items.push_back(item);
      } else {
        cut_splits(item, pieces);
      }
    }
  }

  void cut_splits(Item item, int64_t pieces) {
    const int64_t queries = item.num_heads * num_queries(item);
    const int64_t first = item.first_split, total = item.num_splits;
    item.group = static_cast<int64_t>(plan_.groups.size());
    plan_.groups.push_back({first, total, queries, plan_.num_partial_floats, pieces});
    plan_.num_partial_floats += total * State::num_floats(queries, args_.padded_value_dim());
    for (int64_t piece = 0; piece < pieces; ++piece) {
      item.first_split = first + total * piece / pieces;
      item.num_splits = first + total * (piece + 1) / pieces - item.first_split;
      item.cost = cost(item);
      plan_.items.push_back(item);
    }
  }

  const AttentionKernels& kernels_;
  const AttentionArguments& args_;
  Plan plan_;
};

// Memory that grows as needed and stays for the next call: fresh pages would cost more than the
// work on them.
class Workspace {
 public:
  ~Workspace() { std::free(memory_); }

  float* floats(int64_t count) {
    const size_t size = static_cast<size_t>(rounded_up(count * 4, 64));
    if (size > size_) {
      std::free(memory_);
      memory_ = std::aligned_alloc(64, size);
      size_ = memory_ == nullptr ? 0 : size;
    }
    return static_cast<float*>(memory_);
  }

 private:
  void* memory_ = nullptr;
  size_t size_ = 0;
};

void run(const AttentionKernels& kernels, const AttentionArguments& args, const Plan& plan) {
  thread_local Workspace workspace;
  const int64_t per_thread = plan.num_scratch_floats;
  float* memory = workspace.floats(per_thread * plan.num_threads + plan.num_partial_floats);
  if (memory == nullptr) throw std::bad_alloc();
  float* partials = memory + per_thread * plan.num_threads;
  const auto remaining = std::make_unique<std::atomic<int64_t>[]>(plan.groups.size());
  for (size_t i = 0; i < plan.groups.size(); ++i) remaining[i] = plan.groups[i].num_items;

  const auto body = [&](int64_t i, int64_t thread) {
    const Item& item = plan.items[static_cast<size_t>(i)];
    const ItemKernel& kernel = kernel_of(kernels, args, item);
    float* scratch = memory + per_thread * thread;
    if (item.group < 0) {
      kernel.run(args, item, scratch, nullptr, 0);
      return;
    }
    const Group& group = plan.groups[static_cast<size_t>(item.group)];
    const int64_t stride = State::num_floats(group.num_queries, args.padded_value_dim());
    float* states = partials + group.first_float;
    float* own_states = states + (item.first_split - group.first_split) * stride;
    kernel.run(args, item, scratch, own_states, stride);
    std::atomic<int64_t>& left = remaining[static_cast<size_t>(item.group)];
    if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      kernel.merge(args, item, group.num_splits, scratch, states, stride);
    }
  };
  for_each(static_cast<int64_t>(plan.items.size()), plan.num_threads, body);
}

}  // namespace

int paged_attention(const AttentionKernels& kernels, const AttentionArguments& args) {
  try {
    const Plan plan = Planner(kernels, args).make();
    run(kernels, args, plan);
    return kDone;
  } catch (const std::bad_alloc&) {
    return kOutOfMemory;
  } catch (const std::out_of_range&) {
    return kInvalid;
  }
}

}  // namespace headrace
