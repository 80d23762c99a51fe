// The C interface: chooses the instruction set, spreads rows over threads.

#include "library.h"

#include "decoder.h"
#include "kernels.h"
#include "processor.h"
#include "threads.h"

namespace headrace {

extern const Kernels kPortableKernels;
#ifdef HEADRACE_X86
extern const Kernels kAvx2Kernels, kAvx512Kernels;
extern const ItemKernel kAmxAttention;
extern const RoundedLinearKernels kVnniRoundedLinear;
extern const TiledLinearKernels kAmxTiledLinear;
#endif

namespace {

enum InstructionSet { kPortable, kAvx2, kAvx512, kAmx };

Kernels chosen = kPortableKernels;

#ifdef HEADRACE_X86
void use_avx512() {
  chosen = kAvx512Kernels;
  if (has_avx512_vnni()) chosen.panel_linear.of_rounded_rows = kVnniRoundedLinear;
}
#endif

}  // namespace
}  // namespace headrace

using namespace headrace;

int headrace_supported() {
#ifdef HEADRACE_X86
  if (has_amx()) return kAmx;
  if (has_avx512()) return kAvx512;
  if (has_avx2()) return kAvx2;
#endif
  return kPortable;
}

int headrace_select(int64_t instruction_set) {
  switch (instruction_set) {
    case kPortable: chosen = kPortableKernels; return 0;
#ifdef HEADRACE_X86
    case kAvx2: chosen = kAvx2Kernels; return 0;
    case kAvx512: use_avx512(); return 0;
    case kAmx:
      use_avx512();
      chosen.attention.many[kBFloat16] = kAmxAttention;
      chosen.attention.have_same_bits[kBFloat16] = false;
      chosen.panel_linear.of_tiled_rows = kAmxTiledLinear;
      return 0;
#endif
    default: return 1;
  }
}

void headrace_use_invariant_attention() {
#ifdef HEADRACE_X86
  if (!chosen.attention.have_same_bits[kBFloat16]) chosen.attention = kAvx512Kernels.attention;
#endif
}

int headrace_multiplies_tiles() {
  return chosen.panel_linear.of_tiled_rows.multiply != nullptr;
}

int headrace_rounds_rows() { return chosen.panel_linear.of_rounded_rows.multiply != nullptr; }

void headrace_use_threads(void* region) {
  parallel_region = reinterpret_cast<ParallelRegion>(region);
}

void headrace_argument_sizes(int64_t (&sizes)[9]) {
  sizes[0] = sizeof(AttentionArguments);
  sizes[1] = sizeof(WriteKVArguments);
  sizes[2] = sizeof(NormArguments);
  sizes[3] = sizeof(GatedArguments);
  sizes[4] = sizeof(RopeArguments);
  sizes[5] = sizeof(TileCount);
  sizes[6] = sizeof(PanelLinearArguments);
  sizes[7] = sizeof(DecoderArguments);
  sizes[8] = sizeof(DecoderLayer);
}

int headrace_paged_attention(const AttentionArguments* args) {
  return paged_attention(chosen.attention, *args);
}

int headrace_write_kv(const WriteKVArguments* args) { return write_kv(chosen.elementwise, *args); }

int headrace_rms_norm(const NormArguments* args) { return rms_norm(chosen.elementwise, *args); }

int headrace_gated(const GatedArguments* args) { return gated(chosen.elementwise, *args); }

int headrace_rope(const RopeArguments* args) { return rope(chosen.elementwise, *args); }

int headrace_attention_tiles(TileCount* count) { return count_tiles(chosen.attention, *count); }

int headrace_panel_linear(const PanelLinearArguments* args) {
  return panel_linear(chosen.panel_linear, *args);
}

int headrace_decoder_layers(const DecoderArguments* args) { return decoder_layers(chosen, *args); }
