// The layers of a decoder of the Llama family, one after another in one call: arguments, mirrored in
// kernels/decoder_layers/cpu.py.
#pragma once

#include "attention.h"
#include "elementwise.h"
#include "panel_linear.h"

namespace headrace {

struct Kernels;

// A product with weights in panels, of one group.
struct Product {
  const void* panels;
  const float* scales;  // [num_outputs], or null
  const float* bias;    // [num_outputs], or null
  int64_t num_inputs, num_outputs, weight_type;
};

struct DecoderLayer {
  Product qkv, output, gate_up, down;
  const void* input_norm;
  const void* post_attention_norm;
  const void* query_norm;  // null: none
  const void* key_norm;    // null: none
  void* key_cache;
  void* value_cache;
  double input_eps, post_attention_eps, query_eps, key_eps;
  double scale;            // of attention
  int64_t sliding_window;  // 0: none
};

// Buffers hold num_tokens rows of `data_type`, contiguous; `wide` and `wide_output`, in float32, are
// for products of BFloat16 whose weights are not in tiles.
struct DecoderArguments {
  const DecoderLayer* layers;
  void* x;           // [num_tokens, width]: hidden states, modified
  void* normed;      // [num_tokens, width]
  void* qkv;         // [num_tokens, (num_heads + 2 num_kv_heads) head_dim]
  void* normed_heads;  // [num_tokens, (num_heads + num_kv_heads) head_dim]
  void* heads;       // the same
  void* mixed;       // [num_tokens, num_heads * head_dim]
  void* gate_up;     // [num_tokens, 2 inner]
  void* gated;       // [num_tokens, inner]
  void* update;      // [num_tokens, width]
  float* wide;       // [num_tokens, the most inputs], or null
  float* wide_output;  // [num_tokens, the most outputs], or null
  const void* cos;
  const void* sin;
  int64_t num_layers, num_tokens, width, inner, num_heads, num_kv_heads, head_dim, rotary_dim;
  int64_t angle_stride, angle_type, data_type, norm_weight_type, num_threads;
  AttentionArguments attention;  // of the first layer; what differs comes from each layer
  WriteKVArguments write;        // likewise
};

// Returns one of the codes of status.h; x and the caches are then as far as the layers came.
int decoder_layers(const Kernels&, const DecoderArguments&);

}  // namespace headrace
