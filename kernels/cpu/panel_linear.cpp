// Spreads products with weights in panels over threads.

#include "panel_linear.h"

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "status.h"
#include "threads.h"
#include "workspace.h"

namespace headrace {
namespace {

// Rows of one group that are computed together.
struct Chunk {
  int64_t group, begin, end;
  int64_t first_tile;  // of all rows in tiles

  int64_t end_tile() const { return first_tile + num_row_tiles(end - begin); }
};

// Reading a weight costs as much as multiplying it by so many rows.
constexpr int64_t kRowsPerWeight = 4;
// In weights times rows. Less is not worth waking another thread, which takes up to 50 microseconds,
// or none in a team.
constexpr int64_t kSmallestShare = 1 << 21, kSmallestTeamShare = 1 << 16;
// Numbers of rows that a thread rounds at a time.
constexpr int64_t kInputsPerTask = 1 << 16;

// All rows of a call as integers.
class Rounded {
 public:
  Rounded(const RoundedLinearKernels& kernels, const PanelLinearArguments& args,
          int64_t num_threads)
      : integers_(new int8_t[args.num_rows * args.num_inputs]),
        scales_(new float[args.num_rows * num_scales(args.num_inputs)]),
        sums_(new int32_t[args.num_rows * num_scales(args.num_inputs)]),
        rows{integers_.get(), scales_.get(), sums_.get()} {
    const int64_t step =
        std::max<int64_t>(kInputsPerTask / std::max<int64_t>(args.num_inputs, 1), 1);
    for_each((args.num_rows + step - 1) / step, num_threads, [&](int64_t task, int64_t) {
      kernels.round(args, rows, task * step, std::min((task + 1) * step, args.num_rows));
    });
  }

 private:
  std::unique_ptr<int8_t[]> integers_;
  std::unique_ptr<float[]> scales_;
  std::unique_ptr<int32_t[]> sums_;

 public:
  const RoundedRows rows;
};

// All rows of a call in tiles.
class Tiled {
 public:
  Tiled(const TiledLinearKernels& kernels, const PanelLinearArguments& args,
        const std::vector<Chunk>& chunks, int64_t num_threads)
      : numbers_(kTileRows * args.num_inputs), rows_(room(num_tiles(chunks) * numbers_)) {
    for_each(static_cast<int64_t>(chunks.size()), num_threads, [&](int64_t index, int64_t) {
      const Chunk& chunk = chunks[index];
      kernels.tile(args, chunk.begin, chunk.end, rows_ + chunk.first_tile * numbers_);
    });
  }

  const uint16_t* of(const Chunk& chunk) const { return rows_ + chunk.first_tile * numbers_; }

 private:
  // Good until the calling thread asks again.
  static uint16_t* room(int64_t numbers) {
    thread_local Workspace workspace;
    return static_cast<uint16_t*>(workspace.bytes(static_cast<size_t>(numbers) * sizeof(uint16_t)));
  }

  static int64_t num_tiles(const std::vector<Chunk>& chunks) {
    return chunks.empty() ? 0 : chunks.back().end_tile();
  }

  const int64_t numbers_;  // of a tile of rows
  uint16_t* const rows_;
};

}  // namespace

int panel_linear(const PanelLinearKernels& kernels, const PanelLinearArguments& args) try {
  const int64_t panels = (args.num_outputs + kPanelWidth - 1) / kPanelWidth;
  const bool is_tiled = args.weight_type == kTiledWeights;
  const int64_t most = is_tiled ? rows_per_tiled_item(args.num_inputs) : kRowsPerItem;
  std::vector<Chunk> chunks;
  int64_t begin = 0, tile = 0, rows_and_reads = 0;
  for (int64_t group = 0; group < args.num_groups; ++group) {
    const int64_t end = args.ends[group];
    if (end < begin || end > args.num_rows) return kInvalid;
    for (; begin < end; begin += most) {
      chunks.push_back({group, begin, std::min(begin + most, end), tile});
      tile = chunks.back().end_tile();
      rows_and_reads += chunks.back().end - begin + kRowsPerWeight;
    }
    begin = end;
  }
  if (begin != args.num_rows) return kInvalid;
  const int64_t smallest = Team::current() == nullptr ? kSmallestShare : kSmallestTeamShare;
  const int64_t shares = rows_and_reads * args.num_inputs * args.num_outputs / smallest;
  const int64_t num_threads = std::min(args.num_threads, std::max<int64_t>(shares, 1));
  // The rows of a chunk stay in the cache while the weights pass by.
  const int64_t count = static_cast<int64_t>(chunks.size()) * panels;
  const auto multiply_all = [&](const auto& multiply) {
    for_each(count, num_threads, [&](int64_t item, int64_t) {
      multiply(chunks[item / panels], item % panels);
    });
  };
  if (is_tiled) {
    if (kernels.of_tiled_rows.multiply == nullptr || args.num_inputs % kInputsPerTile != 0) {
      return kInvalid;
    }
    const Tiled rows(kernels.of_tiled_rows, args, chunks, num_threads);
    multiply_all([&](const Chunk& chunk, int64_t panel) {
      kernels.of_tiled_rows.multiply(args, rows.of(chunk), chunk.group, panel, chunk.begin,
                                     chunk.end);
    });
    return kDone;
  }
  if (args.weight_type == kOffsetWeights) {
    if (kernels.of_rounded_rows.multiply == nullptr) return kInvalid;
    const Rounded rounded(kernels.of_rounded_rows, args, num_threads);
    multiply_all([&](const Chunk& chunk, int64_t panel) {
      kernels.of_rounded_rows.multiply(args, rounded.rows, chunk.group, panel, chunk.begin,
                                       chunk.end);
    });
    return kDone;
  }
  const PanelLinearKernel kernel = kernels.of_type[args.weight_type];
  multiply_all([&](const Chunk& chunk, int64_t panel) {
    kernel(args, chunk.group, panel, chunk.begin, chunk.end);
  });
  return kDone;
} catch (const std::bad_alloc&) {
  return kOutOfMemory;
}

}  // namespace headrace
