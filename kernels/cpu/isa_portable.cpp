// What every processor of the architecture has: SSE2 on x86-64, NEON on 64-bit Arm.
#define HEADRACE_ISA portable
#define HEADRACE_WIDTH 4
#include "isa.h"

namespace headrace {
extern const Kernels kPortableKernels;
const Kernels kPortableKernels = portable::kKernels;
}  // namespace headrace
