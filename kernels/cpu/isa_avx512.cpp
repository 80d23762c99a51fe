// AVX-512 F, BW, DQ, VL. (Its BFloat16 extension is not used: where measured, on Sapphire Rapids,
// its dot product has half the rate of float32 multiply-adds.)
#define HEADRACE_ISA avx512
#define HEADRACE_WIDTH 16
#include "isa.h"

namespace headrace {
extern const Kernels kAvx512Kernels;
const Kernels kAvx512Kernels = avx512::kKernels;
}  // namespace headrace
