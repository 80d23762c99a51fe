// AVX-512 with AMX tiles for the products of many BFloat16 query vectors and keys; all else is
// AVX-512's, caches of 8-bit floats too.
#define HEADRACE_ISA amx
#define HEADRACE_WIDTH 16

#include "attention_amx.h"
#include "kernels.h"
#include "tile_linear_kernel.h"

namespace headrace {

extern const ItemKernel kAmxAttention;
const ItemKernel kAmxAttention = amx::TileEntry::kKernel;

extern const TiledLinearKernels kAmxTiledLinear;
const TiledLinearKernels kAmxTiledLinear = {amx::tile_rows, amx::tile_linear_item};

}  // namespace headrace
