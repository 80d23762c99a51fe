// Everything that one instruction set implements. Included once by each isa_*.cpp.
#pragma once

#include "attention_kernel.h"
#include "elementwise_kernel.h"
#include "panel_linear_kernel.h"
#include "kernels.h"

namespace headrace {
namespace HEADRACE_ISA {

constexpr Kernels kKernels = {
    {
        {ItemEntry<float, float, FewProducts<float>>::kKernel,
         ItemEntry<BFloat16, BFloat16, FewProducts<BFloat16>>::kKernel,
         ItemEntry<float, Float8, FewProducts<Float8>>::kKernel,
         ItemEntry<OrderedBFloat16, Float8, FewProducts<Float8>>::kKernel},
        {ItemEntry<float, float, ManyProducts<float>>::kKernel,
         ItemEntry<BFloat16, BFloat16, ManyProducts<BFloat16>>::kKernel,
         ItemEntry<float, Float8, ManyProducts<Float8>>::kKernel,
         ItemEntry<OrderedBFloat16, Float8, ManyProducts<Float8>>::kKernel},
        {true, true, true, true},
    },
    {rms_norm, gated, rope, round_to_float8, convert},
    {{panel_linear_item<float>, panel_linear_item<BFloat16>, panel_linear_item<int8_t>}, {}},
};

}  // namespace HEADRACE_ISA
}  // namespace headrace
