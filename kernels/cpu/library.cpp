// The C interface: chooses the instruction set, spreads rows over threads.

#include "library.h"

#include "kernels.h"
#include "processor.h"
#include "status.h"
#include "threads.h"

namespace headrace {

extern const Kernels kPortableKernels;
#ifdef HEADRACE_X86
extern const Kernels kAvx2Kernels, kAvx512Kernels;
extern const ItemKernel kAmxAttention;
extern const RoundedLinearKernels kVnniRoundedLinear;
#endif

namespace {

enum InstructionSet { kPortable, kAvx2, kAvx512, kAmx };

// Less than this is done by the calling thread: waking another takes up to 50 microseconds.
constexpr int64_t kElementsPerPiece = 65536;

Kernels chosen = kPortableKernels;

#ifdef HEADRACE_X86
void use_avx512() {
  chosen = kAvx512Kernels;
  if (has_avx512_vnni()) chosen.panel_linear.of_rounded_rows = kVnniRoundedLinear;
}
#endif

// body(begin, end) over all rows in pieces.
template <class Body>
int for_each_piece(int64_t rows, int64_t elements_per_row, int64_t num_threads, const Body& body) {
  const int64_t most = kElementsPerPiece / (elements_per_row > 0 ? elements_per_row : 1);
  const int64_t step = most > 1 ? most : 1;
  for_each((rows + step - 1) / step, num_threads, [&](int64_t piece, int64_t) {
    const int64_t begin = piece * step;
    body(begin, begin + step < rows ? begin + step : rows);
  });
  return kDone;
}

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
      return 0;
#endif
    default: return 1;
  }
}

int headrace_rounds_rows() { return chosen.panel_linear.of_rounded_rows.multiply != nullptr; }

void headrace_use_threads(void* region) {
  parallel_region = reinterpret_cast<ParallelRegion>(region);
}

void headrace_argument_sizes(int64_t (&sizes)[7]) {
  sizes[0] = sizeof(AttentionArguments);
  sizes[1] = sizeof(WriteKVArguments);
  sizes[2] = sizeof(NormArguments);
  sizes[3] = sizeof(GatedArguments);
  sizes[4] = sizeof(RopeArguments);
  sizes[5] = sizeof(TileCount);
  sizes[6] = sizeof(PanelLinearArguments);
}

int headrace_paged_attention(const AttentionArguments* args) {
  return paged_attention(chosen.attention, *args);
}

int headrace_write_kv(const WriteKVArguments* args) {
  if (!has_valid_slots(*args)) return kInvalid;
  const int64_t elements = args->num_kv_heads * (args->key_bytes + args->value_bytes) / 2;
  return for_each_piece(args->num_tokens, elements, args->num_threads,
                        [&](int64_t begin, int64_t end) {
                          write_kv(*args, chosen.elementwise.round_to_float8, begin, end);
                        });
}

int headrace_rms_norm(const NormArguments* args) {
  return for_each_piece(
      args->outer * args->inner, args->dim, args->num_threads,
      [&](int64_t begin, int64_t end) { chosen.elementwise.rms_norm(*args, begin, end); });
}

int headrace_gated(const GatedArguments* args) {
  return for_each_piece(
      args->num_rows, args->dim, args->num_threads,
      [&](int64_t begin, int64_t end) { chosen.elementwise.gated(*args, begin, end); });
}

int headrace_rope(const RopeArguments* args) {
  const int64_t elements = (args->num_heads + args->num_kv_heads) * args->head_dim;
  return for_each_piece(
      args->num_tokens, elements, args->num_threads,
      [&](int64_t begin, int64_t end) { chosen.elementwise.rope(*args, begin, end); });
}

int headrace_attention_tiles(TileCount* count) { return count_tiles(chosen.attention, *count); }

int headrace_panel_linear(const PanelLinearArguments* args) {
  return panel_linear(chosen.panel_linear, *args);
}
