// Operations on rows, each independent of the others: arguments, mirrored in the ops' cpu.py.
// Strides count elements; data types are those of attention.h.
#pragma once

#include "attention.h"

namespace headrace {

// out = x / sqrt(mean(x^2) + eps) * weight, over rows [outer, inner, dim]; first x += residual if
// there is one: then the sum, rounded, is left in the residual.
struct NormArguments {
  const void* x;
  const void* weight;
  void* residual;  // [outer, inner, dim] contiguous, or null
  void* output;    // [outer, inner, dim] contiguous
  int64_t outer, inner, dim;
  int64_t x_strides[2];  // outer, inner
  int64_t data_type;     // of x, residual and output
  int64_t weight_type;   // kFloat32 or that of x
  int64_t num_threads;
  double eps;
};

// out = f(gate) * up over rows.
struct GatedArguments {
  const void* gate;
  const void* up;
  void* output;  // contiguous
  int64_t num_rows, dim, gate_stride, up_stride;
  int64_t data_type, num_threads;
  int64_t is_gelu;  // else SiLU
};

// Rotates the first rotary_dim dimensions of each head, copies the rest.
struct RopeArguments {
  const void* query;
  const void* key;
  const void* cos;
  const void* sin;
  void* query_output;  // contiguous
  void* key_output;
  int64_t num_tokens, num_heads, num_kv_heads, head_dim, rotary_dim;
  int64_t query_strides[2], key_strides[2];  // token, head
  int64_t cos_stride, sin_stride;            // token
  int64_t data_type, angle_type, num_threads;
};

// Copies each token's key and value to its slot, or rounds them to 8-bit floats on the way. Widths
// (those of a key and a value as they come) and strides in bytes.
struct WriteKVArguments {
  const char* key;
  const char* value;
  char* key_cache;
  char* value_cache;
  const int64_t* slot_mapping;
  int64_t num_tokens, num_kv_heads, num_blocks, block_size, key_bytes, value_bytes;
  int64_t key_strides[2], value_strides[2];              // token, head
  int64_t key_cache_strides[3], value_cache_strides[3];  // block, offset, head
  int64_t is_float8;  // the caches; keys and values are of data_type then
  int64_t data_type, num_threads;
};

// What becomes of the heads of new tokens: norms of queries and keys (of none whose weight is null),
// rotary embedding, and keys and values in the cache.
struct HeadArguments {
  NormArguments norms[2];
  RopeArguments rope;
  WriteKVArguments write;
};

// Rows of kFloat32 or kBFloat16 as the other; both are contiguous.
struct ConvertArguments {
  const void* from;
  void* to;
  int64_t num_rows, dim, to_type, num_threads;
};

// A row of kFloat32 or kBFloat16, of `count` elements, as 8-bit floats.
using RoundToFloat8 = void (*)(const void* from, int64_t data_type, int64_t count, void* to);

// Rows or tokens [begin, end) of a call.
struct ElementwiseKernels {
  void (*rms_norm)(const NormArguments&, int64_t begin, int64_t end);
  void (*gated)(const GatedArguments&, int64_t begin, int64_t end);
  void (*rope)(const RopeArguments&, int64_t begin, int64_t end);
  RoundToFloat8 round_to_float8;
  void (*convert)(const ConvertArguments&, int64_t begin, int64_t end);
};

// These return one of the codes of status.h.
int rms_norm(const ElementwiseKernels&, const NormArguments&);
int gated(const ElementwiseKernels&, const GatedArguments&);
int rope(const ElementwiseKernels&, const RopeArguments&);
int write_kv(const ElementwiseKernels&, const WriteKVArguments&);
int place_heads(const ElementwiseKernels&, const HeadArguments&);
int convert(const ElementwiseKernels&, const ConvertArguments&);

bool has_valid_slots(const WriteKVArguments&);
void write_kv(const WriteKVArguments&, RoundToFloat8, int64_t begin, int64_t end);

}  // namespace headrace
