// Asks the processor by CPUID.

#include "processor.h"

#ifdef HEADRACE_X86

#include <cpuid.h>

#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace headrace {
namespace {

// Of CPUID leaf 1, register ECX. (Not every compiler knows it by name.)
constexpr unsigned kF16C = 1u << 29;
// Of CPUID leaf 7, subleaf 0, register EDX.
constexpr unsigned kAmxBFloat16 = 1u << 22;
constexpr unsigned kAmxTile = 1u << 24;

bool may_use_tiles() {
#ifdef __linux__
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

bool has_avx2() {
  __builtin_cpu_init();
  unsigned eax, ebx, ecx, edx;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kF16C) == 0) return false;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool has_avx512() {
  __builtin_cpu_init();
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }

bool has_amx() {
  unsigned eax, ebx, ecx, edx;
  if (!has_avx512() || __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  return (edx & kAmxTile) != 0 && (edx & kAmxBFloat16) != 0 && may_use_tiles();
}

}  // namespace headrace

#endif
