// The plan of a paged attention call: items of similar cost, and where their states go.
#pragma once

#include <vector>

#include "attention.h"

namespace headrace {

struct Plan {
  std::vector<Item> items;  // by falling cost
  std::vector<Chunk> chunks;
  std::vector<Target> targets;
  std::vector<Part> parts;                // by target, in the order of splits
  std::vector<int64_t> targets_of_items;  // from Item::first_target on, one for each chunk
  int64_t num_state_floats = 0;
  int64_t num_scratch_floats = 0;  // of a thread
  int64_t num_threads = 1;
};

// Throws std::out_of_range if a row leaves the cache, the block table or the tokens.
Plan make_plan(const AttentionKernels&, const AttentionArguments&);

// Computes the items; the tables of the arguments are those that the plan was made of. Throws
// std::bad_alloc.
void run_plan(const AttentionArguments&, const Plan&);

// How many tiles of keys, each of one KV head, the items fetch in all.
int64_t num_tiles(const AttentionArguments&, const Plan&);

}  // namespace headrace
