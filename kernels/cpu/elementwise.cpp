// Spreads operations on rows over threads.

#include "elementwise.h"

#include "status.h"
#include "threads.h"

namespace headrace {
namespace {

// Less than this is done by the calling thread: waking another takes up to 50 microseconds, if it
// does not wait in a team.
constexpr int64_t kElementsPerPiece = 65536, kElementsPerTeamPiece = 8192;

// body(begin, end) over all rows in pieces.
template <class Body>
int for_each_piece(int64_t rows, int64_t elements_per_row, int64_t num_threads, const Body& body) {
  const int64_t elements = Team::current() == nullptr ? kElementsPerPiece : kElementsPerTeamPiece;
  const int64_t most = elements / (elements_per_row > 0 ? elements_per_row : 1);
  const int64_t step = most > 1 ? most : 1;
  for_each((rows + step - 1) / step, num_threads, [&](int64_t piece, int64_t) {
    const int64_t begin = piece * step;
    body(begin, begin + step < rows ? begin + step : rows);
  });
  return kDone;
}

}  // namespace

int rms_norm(const ElementwiseKernels& kernels, const NormArguments& args) {
  return for_each_piece(args.outer * args.inner, args.dim, args.num_threads,
                        [&](int64_t begin, int64_t end) { kernels.rms_norm(args, begin, end); });
}

int gated(const ElementwiseKernels& kernels, const GatedArguments& args) {
  return for_each_piece(args.num_rows, args.dim, args.num_threads,
                        [&](int64_t begin, int64_t end) { kernels.gated(args, begin, end); });
}

int rope(const ElementwiseKernels& kernels, const RopeArguments& args) {
  const int64_t elements = (args.num_heads + args.num_kv_heads) * args.head_dim;
  return for_each_piece(args.num_tokens, elements, args.num_threads,
                        [&](int64_t begin, int64_t end) { kernels.rope(args, begin, end); });
}

int write_kv(const ElementwiseKernels& kernels, const WriteKVArguments& args) {
  if (!has_valid_slots(args)) return kInvalid;
  const int64_t elements = args.num_kv_heads * (args.key_bytes + args.value_bytes) / 2;
  return for_each_piece(args.num_tokens, elements, args.num_threads,
                        [&](int64_t begin, int64_t end) {
                          write_kv(args, kernels.round_to_float8, begin, end);
                        });
}

int place_heads(const ElementwiseKernels& kernels, const HeadArguments& args) {
  if (!has_valid_slots(args.write)) return kInvalid;
  const RopeArguments& rope = args.rope;
  const int64_t elements = (rope.num_heads + 2 * rope.num_kv_heads) * rope.head_dim;
  return for_each_piece(rope.num_tokens, elements, rope.num_threads,
                        [&](int64_t begin, int64_t end) {
                          for (const NormArguments& norm : args.norms) {
                            if (norm.weight == nullptr) continue;
                            kernels.rms_norm(norm, begin * norm.inner, end * norm.inner);
                          }
                          kernels.rope(rope, begin, end);
                          write_kv(args.write, kernels.round_to_float8, begin, end);
                        });
}

int convert(const ElementwiseKernels& kernels, const ConvertArguments& args) {
  return for_each_piece(args.num_rows, args.dim, args.num_threads,
                        [&](int64_t begin, int64_t end) { kernels.convert(args, begin, end); });
}

}  // namespace headrace
