// Everything that one instruction set implements. Included once by each isa_*.cpp.
#pragma once

#include "attention_kernel.h"
#include "elementwise_kernel.h"
#include "int8_linear_kernel.h"
#include "kernels.h"

namespace headrace {
namespace HEADRACE_ISA {

constexpr Kernels kKernels = {
    {
        {ItemEntry<float, FewProducts<float>>::kKernel,
         ItemEntry<BFloat16, FewProducts<BFloat16>>::kKernel},
        {ItemEntry<float, ManyProducts<float>>::kKernel,
         ItemEntry<BFloat16, ManyProducts<BFloat16>>::kKernel},
    },
    {rms_norm, gated, rope},
    int8_linear_item,
};

}  // namespace HEADRACE_ISA
}  // namespace headrace
