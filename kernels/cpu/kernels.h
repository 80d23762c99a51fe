// The table of what an instruction set implements.
#pragma once

#include "attention.h"
#include "elementwise.h"
#include "panel_linear.h"

namespace headrace {

struct Kernels {
  AttentionKernels attention;
  ElementwiseKernels elementwise;
  PanelLinearKernels panel_linear;
};

}  // namespace headrace
