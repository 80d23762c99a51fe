// The table of what an instruction set implements.
#pragma once

#include "attention.h"
#include "elementwise.h"

namespace headrace {

struct Kernels {
  AttentionKernels attention;
  ElementwiseKernels elementwise;
};

}  // namespace headrace
