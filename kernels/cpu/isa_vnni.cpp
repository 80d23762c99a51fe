// AVX-512 with products of integers (VNNI), for rows that are rounded to int8; all else is AVX-512's.
#define HEADRACE_ISA vnni
#define HEADRACE_WIDTH 16

#include "kernels.h"
#include "rounded_linear_kernel.h"

namespace headrace {

extern const RoundedLinearKernels kVnniRoundedLinear;
const RoundedLinearKernels kVnniRoundedLinear = {vnni::round_rows, vnni::rounded_linear_item};

}  // namespace headrace
