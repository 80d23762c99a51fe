// Runs the layers of a decoder on one team of threads.

#include "decoder.h"

#include <new>
#include <stdexcept>

#include "attention_plan.h"
#include "kernels.h"
#include "status.h"
#include "threads.h"

namespace headrace {
namespace {

class Decoder {
 public:
  Decoder(const Kernels& kernels, const DecoderArguments& args)
      : kernels_(kernels),
        args_(args),
        element_bytes_(args.data_type == kFloat32 ? 4 : 2),
        query_width_(args.num_heads * args.head_dim),
        key_width_(args.num_kv_heads * args.head_dim) {}

  int run() {
    const void* update = nullptr;  // what the layer before adds to x
    for (int64_t i = 0; i < args_.num_layers; ++i) {
      const DecoderLayer& layer = args_.layers[i];
      norm(update, layer.input_norm, layer.input_eps);
      multiply(layer.qkv, args_.normed, args_.qkv);
      place(layer);
      attend(layer);
      multiply(layer.output, args_.mixed, args_.update);
      norm(args_.update, layer.post_attention_norm, layer.post_attention_eps);
      multiply(layer.gate_up, args_.normed, args_.gate_up);
      gate();
      multiply(layer.down, args_.gated, args_.update);
      update = args_.update;
      if (status_ != kDone) return status_;
    }
    return status_;
  }

 private:
  void check(int status) {
    if (status_ == kDone) status_ = status;
  }

  const char* at(const void* buffer, int64_t elements) const {
    return static_cast<const char*>(buffer) + elements * element_bytes_;
  }
  char* at(void* buffer, int64_t elements) const {
    return static_cast<char*>(buffer) + elements * element_bytes_;
  }

  // x += update, if there is one; normed = its norm.
  void norm(const void* update, const void* weight, double eps) {
    NormArguments norm{};
    norm.x = update == nullptr ? args_.x : update;
    norm.weight = weight;
    norm.residual = update == nullptr ? nullptr : args_.x;
    norm.output = args_.normed;
    norm.outer = 1;
    norm.inner = args_.num_tokens;
    norm.dim = args_.width;
    norm.x_strides[1] = args_.width;
    norm.data_type = args_.data_type;
    norm.weight_type = args_.norm_weight_type;
    norm.num_threads = args_.num_threads;
    norm.eps = eps;
    check(rms_norm(kernels_.elementwise, norm));
  }

  void multiply(const Product& product, const void* x, void* output) {
    const bool is_wide = args_.data_type == kFloat32 || product.weight_type == kTiledWeights;
    const auto end = static_cast<int32_t>(args_.num_tokens);
    PanelLinearArguments linear{};
    linear.x = is_wide ? x : widened(x, product.num_inputs);
    linear.panels = product.panels;
    linear.scales = product.scales;
    linear.bias = product.bias;
    linear.output = is_wide ? output : args_.wide_output;
    linear.ends = &end;
    linear.num_groups = 1;
    linear.num_rows = args_.num_tokens;
    linear.num_inputs = product.num_inputs;
    linear.num_outputs = product.num_outputs;
    linear.x_stride = product.num_inputs;
    linear.weight_type = product.weight_type;
    linear.num_threads = args_.num_threads;
    check(panel_linear(kernels_.panel_linear, linear));
    if (!is_wide) {
      check(convert(kernels_.elementwise, {args_.wide_output, output, args_.num_tokens,
                                           product.num_outputs, kBFloat16, args_.num_threads}));
    }
  }

  const float* widened(const void* x, int64_t dim) {
    check(convert(kernels_.elementwise,
                  {x, args_.wide, args_.num_tokens, dim, kFloat32, args_.num_threads}));
    return args_.wide;
  }

  // Norms, rotary embedding, keys and values into the cache.
  void place(const DecoderLayer& layer) {
    HeadArguments heads{};
    RopeArguments& rope = heads.rope;
    rope.cos = args_.cos;
    rope.sin = args_.sin;
    rope.query_output = args_.heads;
    rope.key_output = at(args_.heads, args_.num_tokens * query_width_);
    rope.num_tokens = args_.num_tokens;
    rope.num_heads = args_.num_heads;
    rope.num_kv_heads = args_.num_kv_heads;
    rope.head_dim = args_.head_dim;
    rope.rotary_dim = args_.rotary_dim;
    rope.cos_stride = rope.sin_stride = args_.angle_stride;
    rope.data_type = args_.data_type;
    rope.angle_type = args_.angle_type;
    rope.num_threads = args_.num_threads;
    rope.query = head_norm(heads.norms[0], layer.query_norm, layer.query_eps, args_.num_heads,
                           args_.qkv, args_.normed_heads, rope.query_strides);
    rope.key = head_norm(heads.norms[1], layer.key_norm, layer.key_eps, args_.num_kv_heads,
                         at(args_.qkv, query_width_),
                         at(args_.normed_heads, args_.num_tokens * query_width_), rope.key_strides);
    heads.write = args_.write;
    heads.write.key = static_cast<const char*>(rope.key_output);
    heads.write.value = at(static_cast<const void*>(args_.qkv), query_width_ + key_width_);
    heads.write.key_cache = static_cast<char*>(layer.key_cache);
    heads.write.value_cache = static_cast<char*>(layer.value_cache);
    check(place_heads(kernels_.elementwise, heads));
  }

  // Returns where the heads then are, and how far apart.
  const void* head_norm(NormArguments& norm, const void* weight, double eps, int64_t num_heads,
                        const void* x, void* output, int64_t (&strides)[2]) const {
    strides[0] = query_width_ + 2 * key_width_;
    strides[1] = args_.head_dim;
    if (weight == nullptr) return x;
    norm.x = x;
    norm.weight = weight;
    norm.output = output;
    norm.outer = args_.num_tokens;
    norm.inner = num_heads;
    norm.dim = args_.head_dim;
    norm.x_strides[0] = strides[0];
    norm.x_strides[1] = strides[1];
    norm.data_type = args_.data_type;
    norm.weight_type = args_.norm_weight_type;
    norm.eps = eps;
    strides[0] = num_heads * args_.head_dim;
    return output;
  }

  void attend(const DecoderLayer& layer) {
    if (status_ != kDone) return;
    AttentionArguments attention = args_.attention;
    attention.query = args_.heads;
    attention.key_cache = layer.key_cache;
    attention.value_cache = layer.value_cache;
    attention.output = args_.mixed;
    attention.sliding_window = layer.sliding_window;
    attention.scale = layer.scale;
    try {
      if (!has_plan_ || layer.sliding_window != planned_window_) {
        plan_ = make_plan(kernels_.attention, attention);
        has_plan_ = true;
        planned_window_ = layer.sliding_window;
      }
      run_plan(attention, plan_);
    } catch (const std::bad_alloc&) {
      check(kOutOfMemory);
    } catch (const std::out_of_range&) {
      check(kInvalid);
    }
  }

  void gate() {
    GatedArguments gated_rows{};
    gated_rows.gate = args_.gate_up;
    gated_rows.up = at(args_.gate_up, args_.inner);
    gated_rows.output = args_.gated;
    gated_rows.num_rows = args_.num_tokens;
    gated_rows.dim = args_.inner;
    gated_rows.gate_stride = gated_rows.up_stride = 2 * args_.inner;
    gated_rows.data_type = args_.data_type;
    gated_rows.num_threads = args_.num_threads;
    check(gated(kernels_.elementwise, gated_rows));
  }

  const Kernels& kernels_;
  const DecoderArguments& args_;
  const int64_t element_bytes_, query_width_, key_width_;
  Plan plan_;
  bool has_plan_ = false;
  int64_t planned_window_ = 0;
  int status_ = kDone;
};

}  // namespace

int decoder_layers(const Kernels& kernels, const DecoderArguments& args) {
  int status = kDone;
  Team::lead(args.num_threads, [&] { status = Decoder(kernels, args).run(); });
  return status;
}

}  // namespace headrace
