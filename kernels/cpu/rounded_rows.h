// Rows rounded to int8, some inputs at a time, for products of integers.
#pragma once

#include <cstdint>

namespace headrace {

// Inputs that share a scale: few, so that one large number of a row costs only those around it.
constexpr int64_t kInputsPerScale = 128;

// [num_rows, num_inputs] integers of -127 to 127; of each row and each kInputsPerScale inputs (the
// last ones may be fewer) what one of them stands for, and their sum.
struct RoundedRows {
  int8_t* integers;
  float* scales;
  int32_t* sums;
};

constexpr int64_t num_scales(int64_t num_inputs) {
  return (num_inputs + kInputsPerScale - 1) / kInputsPerScale;
}

}  // namespace headrace
