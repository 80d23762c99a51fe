// The table of what an instruction set implements.
#pragma once

#include "attention.h"
#include "elementwise.h"
#include "int8_linear.h"

namespace headrace {

struct Kernels {
  AttentionKernels attention;
  ElementwiseKernels elementwise;
  Int8LinearKernel int8_linear;
};

}  // namespace headrace
