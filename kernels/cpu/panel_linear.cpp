// Spreads products with weights in panels over threads.

#include "panel_linear.h"

#include <algorithm>
#include <new>
#include <vector>

#include "status.h"
#include "threads.h"

namespace headrace {
namespace {

// Rows of one group that are computed together.
struct Chunk {
  int64_t group, begin, end;
};

// Reading a weight costs as much as multiplying it by so many rows.
constexpr int64_t kRowsPerWeight = 4;
// In weights times rows. Less is not worth waking another thread, which takes up to 50 microseconds.
constexpr int64_t kSmallestShare = 1 << 21;

}  // namespace

int panel_linear(const PanelLinearKernels& kernels, const PanelLinearArguments& args) try {
  const int64_t panels = (args.num_outputs + kPanelWidth - 1) / kPanelWidth;
  std::vector<Chunk> chunks;
  int64_t begin = 0, rows_and_reads = 0;
  for (int64_t group = 0; group < args.num_groups; ++group) {
    const int64_t end = args.ends[group];
    if (end < begin || end > args.num_rows) return kInvalid;
    for (; begin < end; begin += kRowsPerItem) {
      chunks.push_back({group, begin, std::min(begin + kRowsPerItem, end)});
      rows_and_reads += chunks.back().end - begin + kRowsPerWeight;
    }
    begin = end;
  }
  if (begin != args.num_rows) return kInvalid;
  const int64_t shares = rows_and_reads * args.num_inputs * args.num_outputs / kSmallestShare;
  const int64_t num_threads = std::min(args.num_threads, std::max<int64_t>(shares, 1));
  const PanelLinearKernel kernel = kernels.of_type[args.weight_type];
  // The rows of a chunk stay in the cache while the weights pass by.
  const int64_t count = static_cast<int64_t>(chunks.size()) * panels;
  for_each(count, num_threads, [&](int64_t item, int64_t) {
    const Chunk& chunk = chunks[item / panels];
    kernel(args, chunk.group, item % panels, chunk.begin, chunk.end);
  });
  return kDone;
} catch (const std::bad_alloc&) {
  return kOutOfMemory;
}

}  // namespace headrace
