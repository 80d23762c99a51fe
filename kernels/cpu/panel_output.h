// What both kinds of products with weights in panels share.
#pragma once

#include "panel_linear.h"
#include "vector.h"

namespace headrace {
namespace HEADRACE_ISA {

// By how much weights are fetched ahead, as the hardware does not look across pages.
constexpr int64_t kBytesAhead = 4096, kCacheLine = 64;

static void store_scaled(const PanelLinearArguments& args, int64_t group, int64_t panel,
                         int64_t row, const float* sums) {
  const int64_t first = panel * kPanelWidth;
  const int64_t left = args.num_outputs - first;
  const int64_t count = left < kPanelWidth ? left : kPanelWidth;
  const int64_t parameters = group * args.num_outputs + first;
  float* output = static_cast<float*>(args.output) + row * args.num_outputs + first;
  for (int64_t i = 0; i < count; ++i) {
    float value = sums[i];
    if (args.scales != nullptr) value *= args.scales[parameters + i];
    output[i] = args.bias == nullptr ? value : value + args.bias[parameters + i];
  }
}

}  // namespace HEADRACE_ISA
}  // namespace headrace
