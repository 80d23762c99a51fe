// Which chunks of a call have the same keys: those whose block tables name the same blocks.
#pragma once

#include <vector>

#include "attention.h"

namespace headrace {

// Splits [first_split, +num_splits) of at least two chunks, named by their indices.
struct SharedSplits {
  std::vector<int64_t> chunks;  // rising
  int64_t first_split, num_splits;
};

// The splits that lie in the same blocks for several chunks and are visible to each of their
// tokens, in the order of first_split; no split of a chunk is in two of them. Only chunks with few
// query vectors take part: the others make good use of each key by themselves.
//
// Takes one look-up for each whole split of such a chunk, and reads all entries of the block tables
// only where splits are shared.
std::vector<SharedSplits> find_shared(const AttentionArguments&, const std::vector<Chunk>&);

}  // namespace headrace
