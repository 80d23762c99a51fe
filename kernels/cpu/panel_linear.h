// Products with int8 weights: arguments, mirrored in kernels/int8_linear/cpu.py.
#pragma once

#include <cstdint>

namespace headrace {

// Outputs side by side in a panel of weights: a cache line for each input.
constexpr int64_t kPanelWidth = 64;
// Rows that are computed with one copy of a piece of weights in float32.
constexpr int64_t kRowsPerItem = 96;

// output = x weight^T * scales + bias, all but the weights in float32.
struct Int8LinearArguments {
  const float* x;        // [num_rows, num_inputs], rows x_stride apart
  const int8_t* panels;  // [num_panels, num_inputs, kPanelWidth]
  const float* scales;   // [num_outputs]
  const float* bias;     // [num_outputs], or null
  float* output;         // [num_rows, num_outputs] contiguous
  int64_t num_rows, num_inputs, num_outputs, x_stride, num_threads;
};

// One panel for the rows [begin, end), at most kRowsPerItem.
using Int8LinearKernel = void (*)(const Int8LinearArguments&, int64_t panel, int64_t begin,
                                  int64_t end);

int int8_linear(Int8LinearKernel, const Int8LinearArguments&);

}  // namespace headrace
