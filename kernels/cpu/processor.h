// What the processor offers and the operating system lets programs use.
#pragma once

#if defined(__x86_64__)
#define HEADRACE_X86

namespace headrace {

bool has_avx2();
bool has_avx512();
// Products of integers, for AVX-512.
bool has_avx512_vnni();
// Asks Linux for the permission to use the tile registers, which holds for the whole process.
bool has_amx();

}  // namespace headrace

#endif
