// AVX2 with FMA and F16C.
#define HEADRACE_ISA avx2
#define HEADRACE_WIDTH 8
#include "isa.h"

namespace headrace {
extern const Kernels kAvx2Kernels;
const Kernels kAvx2Kernels = avx2::kKernels;
}  // namespace headrace
