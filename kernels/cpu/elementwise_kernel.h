// Norm, gated activation, rotary embedding and the rounding of new keys and values for one
// instruction set, in float32.
#pragma once

#include "elementwise.h"
#include "float8.h"

namespace headrace {
namespace HEADRACE_ISA {

// body(offset, count) for each vector of a row; the last one may have fewer than kWidth elements.
template <class Body>
HEADRACE_INLINE void for_each_vector(int64_t dim, const Body& body) {
  int64_t i = 0;
  for (; i + kWidth <= dim; i += kWidth) body(i, kWidth);
  if (i < dim) body(i, static_cast<int>(dim - i));
}

template <class T>
HEADRACE_INLINE Vec load_some(const T* from, int count) {
  if (count == kWidth) return load(from);
  T padded[kWidth] = {};
  __builtin_memcpy(padded, from, count * sizeof(T));
  return load(padded);
}

template <class T>
HEADRACE_INLINE void store_some(T* to, Vec v, int count) {
  if (count == kWidth) return store(to, v);
  T padded[kWidth];
  store(padded, v);
  __builtin_memcpy(to, padded, count * sizeof(T));
}

template <class T, class W>
HEADRACE_INLINE void norm_row(const T* x, const W* weight, T* residual, T* output, int64_t dim,
                              float eps) {
  Vec squares{};
  for_each_vector(dim, [&](int64_t i, int count) __attribute__((always_inline)) {
    Vec v = load_some(x + i, count);
    if (residual != nullptr) {
      v = rounded_to(residual, v + load_some(residual + i, count));
      store_some(residual + i, v, count);
    }
    squares += v * v;
  });
  const float mean = reduce_sum(squares) / static_cast<float>(dim);
  const float factor = 1.0f / __builtin_sqrtf(mean + eps);
  const T* from = residual == nullptr ? x : residual;
  for_each_vector(dim, [&](int64_t i, int count) __attribute__((always_inline)) {
    const Vec normalised = rounded_to(weight, load_some(from + i, count) * factor);
    store_some(output + i, normalised * load_some(weight + i, count), count);
  });
}

template <class T, class W>
static void norm_rows(const NormArguments& args, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* x = static_cast<const T*>(args.x) + row / args.inner * args.x_strides[0] +
                 row % args.inner * args.x_strides[1];
    T* residual =
        args.residual == nullptr ? nullptr : static_cast<T*>(args.residual) + row * args.dim;
    norm_row(x, static_cast<const W*>(args.weight), residual,
             static_cast<T*>(args.output) + row * args.dim, args.dim, static_cast<float>(args.eps));
  }
}

static void rms_norm(const NormArguments& args, int64_t begin, int64_t end) {
  if (args.data_type == kFloat32) {
    norm_rows<float, float>(args, begin, end);
  } else if (args.weight_type == kFloat32) {
    norm_rows<BFloat16, float>(args, begin, end);
  } else {
    norm_rows<BFloat16, BFloat16>(args, begin, end);
  }
}

// gate * sigmoid(factor): SiLU itself, and GELU's tanh form, since (1 + tanh u) / 2 = sigmoid(2 u).
HEADRACE_INLINE Vec activate(Vec gate, bool is_gelu) {
  Vec exponent = gate;
  if (is_gelu) exponent = 1.59576912f * (gate + 0.044715f * gate * gate * gate);
  return gate / (1.0f + exponential(-exponent));
}

template <class T>
static void gated_rows(const GatedArguments& args, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* gate = static_cast<const T*>(args.gate) + row * args.gate_stride;
    const T* up = static_cast<const T*>(args.up) + row * args.up_stride;
    T* output = static_cast<T*>(args.output) + row * args.dim;
    for_each_vector(args.dim, [&](int64_t i, int count) __attribute__((always_inline)) {
      const Vec active = activate(load_some(gate + i, count), args.is_gelu != 0);
      store_some(output + i, active * load_some(up + i, count), count);
    });
  }
}

static void gated(const GatedArguments& args, int64_t begin, int64_t end) {
  if (args.data_type == kFloat32) {
    gated_rows<float>(args, begin, end);
  } else {
    gated_rows<BFloat16>(args, begin, end);
  }
}

template <class T, class A>
HEADRACE_INLINE void rotate_head(const T* x, const A* cos, const A* sin, int64_t rotary_dim,
                                 int64_t dim, T* output) {
  const int64_t half = rotary_dim / 2;
  for_each_vector(half, [&](int64_t i, int count) __attribute__((always_inline)) {
    const Vec first = load_some(x + i, count), second = load_some(x + half + i, count);
    const Vec turned_first = first * load_some(cos + i, count) - second * load_some(sin + i, count);
    const Vec turned_second =
        second * load_some(cos + half + i, count) + first * load_some(sin + half + i, count);
    store_some(output + i, turned_first, count);
    store_some(output + half + i, turned_second, count);
  });
  __builtin_memcpy(output + rotary_dim, x + rotary_dim, (dim - rotary_dim) * sizeof(T));
}

template <class T, class A>
static void rotate_tokens(const RopeArguments& args, int64_t begin, int64_t end) {
  const int64_t dim = args.head_dim;
  for (int64_t token = begin; token < end; ++token) {
    const A* cos = static_cast<const A*>(args.cos) + token * args.cos_stride;
    const A* sin = static_cast<const A*>(args.sin) + token * args.sin_stride;
    const auto rotate = [&](const void* x, const int64_t* strides, void* output, int64_t heads) {
      const T* from = static_cast<const T*>(x) + token * strides[0];
      T* to = static_cast<T*>(output) + token * heads * dim;
      for (int64_t head = 0; head < heads; ++head) {
        rotate_head(from + head * strides[1], cos, sin, args.rotary_dim, dim, to + head * dim);
      }
    };
    rotate(args.query, args.query_strides, args.query_output, args.num_heads);
    rotate(args.key, args.key_strides, args.key_output, args.num_kv_heads);
  }
}

static void rope(const RopeArguments& args, int64_t begin, int64_t end) {
  if (args.data_type == kFloat32) {
    rotate_tokens<float, float>(args, begin, end);
  } else if (args.angle_type == kFloat32) {
    rotate_tokens<BFloat16, float>(args, begin, end);
  } else {
    rotate_tokens<BFloat16, BFloat16>(args, begin, end);
  }
}

static void convert(const ConvertArguments& args, int64_t begin, int64_t end) {
  const int64_t first = begin * args.dim, count = (end - begin) * args.dim;
  const bool is_widened = args.to_type == kFloat32;
  const void* from = args.from;
  for_each_vector(count, [&](int64_t i, int size) __attribute__((always_inline)) {
    if (is_widened) {
      store_some(static_cast<float*>(args.to) + first + i,
                 load_some(static_cast<const BFloat16*>(from) + first + i, size), size);
    } else {
      store_some(static_cast<BFloat16*>(args.to) + first + i,
                 load_some(static_cast<const float*>(from) + first + i, size), size);
    }
  });
}

template <class T>
static void round_row(const T* from, int64_t count, uint8_t* to) {
  for_each_vector(count, [&](int64_t i, int size) __attribute__((always_inline)) {
    const ByteVec codes = to_float8(load_some(from + i, size));
    __builtin_memcpy(to + i, &codes, size);
  });
}

// A row of `data_type` to 8-bit floats.
static void round_to_float8(const void* from, int64_t data_type, int64_t count, void* to) {
  if (data_type == kFloat32) {
    round_row(static_cast<const float*>(from), count, static_cast<uint8_t*>(to));
  } else {
    round_row(static_cast<const BFloat16*>(from), count, static_cast<uint8_t*>(to));
  }
}

}  // namespace HEADRACE_ISA
}  // namespace headrace
