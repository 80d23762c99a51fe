// Products with weights that lie in panels of outputs, for several groups of rows: arguments,
// mirrored in kernels/panel_linear/cpu.py.
#pragma once

#include <cstdint>

#include "rounded_rows.h"
#include "tiled_rows.h"

namespace headrace {

// Outputs side by side in a panel of weights.
constexpr int64_t kPanelWidth = 64;
// Rows that are computed with one copy of a piece of weights in float32.
constexpr int64_t kRowsPerItem = 96;

// Offset weights are integers plus 128, in each panel four inputs of an output adjacent: rows are
// rounded to integers too. Tiled weights are BFloat16 in tiles (see tiled_rows.h), and so are rows.
enum WeightType { kFloatWeights, kBFloat16Weights, kInt8Weights, kOffsetWeights, kTiledWeights };
constexpr int kNumFloatRowTypes = kOffsetWeights;

// output = x weight^T * scales + bias with the weights of each row's group; all but the weights in
// float32, x and output in BFloat16 where weights are tiled.
struct PanelLinearArguments {
  const void* x;        // [num_rows, num_inputs], rows x_stride apart, in the order of groups
  const void* panels;   // [num_groups, num_panels, num_inputs, kPanelWidth]
  const float* scales;  // [num_groups, num_outputs], or null
  const float* bias;    // [num_groups, num_outputs], or null
  void* output;         // [num_rows, num_outputs] contiguous
  const int32_t* ends;  // [num_groups]: where each group's rows end, the last at num_rows
  int64_t num_groups, num_rows, num_inputs, num_outputs, x_stride, weight_type, num_threads;
};

// One panel of a group for the rows [begin, end), at most kRowsPerItem.
using PanelLinearKernel = void (*)(const PanelLinearArguments&, int64_t group, int64_t panel,
                                   int64_t begin, int64_t end);

// The same of rows that are rounded: integers of all rows.
using RoundedLinearKernel = void (*)(const PanelLinearArguments&, const RoundedRows&, int64_t group,
                                     int64_t panel, int64_t begin, int64_t end);

// Both are null where the processor multiplies no integers.
struct RoundedLinearKernels {
  void (*round)(const PanelLinearArguments&, const RoundedRows&, int64_t begin, int64_t end);
  RoundedLinearKernel multiply;
};

// The same of rows in tiles: `rows` are those of the item, whose number is begin to end, at most
// rows_per_tiled_item.
using TiledLinearKernel = void (*)(const PanelLinearArguments&, const uint16_t* rows, int64_t group,
                                   int64_t panel, int64_t begin, int64_t end);

// Both are null where the processor has no tiles.
struct TiledLinearKernels {
  void (*tile)(const PanelLinearArguments&, int64_t begin, int64_t end, uint16_t* rows);
  TiledLinearKernel multiply;
};

struct PanelLinearKernels {
  PanelLinearKernel of_type[kNumFloatRowTypes];
  RoundedLinearKernels of_rounded_rows;
  TiledLinearKernels of_tiled_rows;
};

int panel_linear(const PanelLinearKernels&, const PanelLinearArguments&);

}  // namespace headrace
