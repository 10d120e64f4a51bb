#pragma once

// The functions of VectorKernels over struct Simd, which the file that includes
// this one has included before. See src/cpu/README.md.

#include "cpu/simd/simd_math.inl.h"
#include "cpu/simd/simd_types.inl.h"
#include "cpu/vector/vector.h"

namespace llamlx {
namespace {

template <typename Work>
void with_type(ValueType type, Work work) {
  if (type == ValueType::f32) {
    work(InF32{});
  } else if (type == ValueType::f16) {
    work(InF16{});
  } else {
    work(InBf16{});
  }
}

template <typename In>
Simd::F load_part(const typename In::Value* p, int count) {
  typename In::Value values[Simd::kLanes] = {};
  for (int i = 0; i < count; ++i) values[i] = p[i];
  return In::load(values);
}

template <typename In>
void store_part(typename In::Value* p, Simd::F a, int count) {
  typename In::Value values[Simd::kLanes];
  In::store(values, a);
  for (int i = 0; i < count; ++i) p[i] = values[i];
}

/// A vector from i on, of which `n` ends perhaps within.
template <typename In>
Simd::F load_from(const typename In::Value* p, int i, int n) {
  return i + Simd::kLanes <= n ? In::load(p + i) : load_part<In>(p + i, n - i);
}
inline Simd::F load_from(const float* p, int i, int n) {
  return i + Simd::kLanes <= n ? Simd::load(p + i)
                               : Simd::load_part(p + i, n - i);
}
inline void store_from(float* p, int i, int n, Simd::F a) {
  if (i + Simd::kLanes <= n) {
    Simd::store(p + i, a);
  } else {
    Simd::store_part(p + i, a, n - i);
  }
}

/// Where a vector begins.
constexpr std::ptrdiff_t offset(std::ptrdiff_t vector) {
  return vector * Simd::kLanes;
}

inline float mean_of_squares(const float* x, int n) {
  // Vectors summed apart: they hide the latency of additions, and each sum is
  // shorter, so its error is smaller.
  constexpr int kSums = Simd::kLanes == 1 ? 16 : 4;
  Simd::F sums[kSums];
  for (auto& sum : sums) sum = Simd::zero();
  int i = 0;
  for (; i + kSums * Simd::kLanes <= n; i += kSums * Simd::kLanes) {
    for (int s = 0; s < kSums; ++s) {
      const Simd::F a = Simd::load(x + i + offset(s));
      sums[s] = Simd::fma(a, a, sums[s]);
    }
  }
  for (int s = 0; i < n; i += Simd::kLanes, ++s) {
    const Simd::F a = load_from(x, i, n);
    sums[s] = Simd::fma(a, a, sums[s]);
  }
  for (int width = kSums / 2; width > 0; width /= 2) {
    for (int s = 0; s < width; ++s) {
      sums[s] = Simd::add(sums[s], sums[s + width]);
    }
  }
  return Simd::sum(sums[0]) / static_cast<float>(n);
}

inline void rms_norm(const float* x, const void* weight, ValueType type, int n,
                     float eps, float* out) {
  const Simd::F factor =
      Simd::set1(1 / __builtin_sqrtf(mean_of_squares(x, n) + eps));
  with_type(type, [=](auto in) {
    using In = decltype(in);
    const auto* w = static_cast<const typename In::Value*>(weight);
    for (int i = 0; i < n; i += Simd::kLanes) {
      const Simd::F scaled = Simd::mul(load_from(x, i, n), factor);
      store_from(out, i, n, Simd::mul(scaled, load_from<In>(w, i, n)));
    }
  });
}

inline void rope(float* head, const float* cos, const float* sin, int head_dim,
                 bool traditional) {
  const int pairs = head_dim / 2;
  if (traditional) {
    for (int i = 0; i < pairs; ++i, head += 2) {
      const float a = head[0];
      const float b = head[1];
      head[0] = a * cos[i] - b * sin[i];
      head[1] = b * cos[i] + a * sin[i];
    }
    return;
  }
  float* second = head + pairs;
  for (int i = 0; i < pairs; i += Simd::kLanes) {
    const Simd::F a = load_from(head, i, pairs);
    const Simd::F b = load_from(second, i, pairs);
    const Simd::F c = load_from(cos, i, pairs);
    const Simd::F s = load_from(sin, i, pairs);
    store_from(head, i, pairs, Simd::sub(Simd::mul(a, c), Simd::mul(b, s)));
    store_from(second, i, pairs, Simd::fma(b, c, Simd::mul(a, s)));
  }
}

inline void silu_mul(const float* gate, const float* up, int n, float* out) {
  const Simd::F one = Simd::set1(1);
  for (int i = 0; i < n; i += Simd::kLanes) {
    const Simd::F x = load_from(gate, i, n);
    const Simd::F below = Simd::add(one, exp(Simd::sub(Simd::zero(), x)));
    store_from(out, i, n, Simd::mul(Simd::div(x, below), load_from(up, i, n)));
  }
}

inline void add(const float* a, const float* b, int n, float* out) {
  for (int i = 0; i < n; i += Simd::kLanes) {
    store_from(out, i, n, Simd::add(load_from(a, i, n), load_from(b, i, n)));
  }
}

inline void add_bias(float* x, const void* bias, ValueType type, int n) {
  with_type(type, [=](auto in) {
    using In = decltype(in);
    const auto* b = static_cast<const typename In::Value*>(bias);
    for (int i = 0; i < n; i += Simd::kLanes) {
      store_from(x, i, n,
                 Simd::add(load_from(x, i, n), load_from<In>(b, i, n)));
    }
  });
}

inline void scale(float* x, float factor, int n) {
  for (int i = 0; i < n; i += Simd::kLanes) {
    store_from(x, i, n, Simd::mul(load_from(x, i, n), Simd::set1(factor)));
  }
}

inline void to_float(const void* p, ValueType type, int n, float* out) {
  with_type(type, [=](auto in) {
    using In = decltype(in);
    const auto* values = static_cast<const typename In::Value*>(p);
    for (int i = 0; i < n; i += Simd::kLanes) {
      store_from(out, i, n, load_from<In>(values, i, n));
    }
  });
}

inline void round_to(const float* x, int n, ValueType type, void* out) {
  with_type(type, [=](auto in) {
    using In = decltype(in);
    auto* values = static_cast<typename In::Value*>(out);
    int i = 0;
    for (; i + Simd::kLanes <= n; i += Simd::kLanes) {
      In::store(values + i, Simd::load(x + i));
    }
    if (i < n) {
      store_part<In>(values + i, Simd::load_part(x + i, n - i), n - i);
    }
  });
}

/// The largest value of x [n], n >= 1. `poison` becomes NaN where a value is
/// not finite: 0 times it.
inline float largest_of(const float* x, int n, Simd::F& poison) {
  constexpr int kUnroll = 4;
  const Simd::F zero = Simd::zero();
  Simd::F most[kUnroll];
  Simd::F poisons[kUnroll];
  for (int u = 0; u < kUnroll; ++u) {
    most[u] = Simd::set1(*x);
    poisons[u] = zero;
  }
  int i = 0;
  for (; i + kUnroll * Simd::kLanes <= n; i += kUnroll * Simd::kLanes) {
    for (int u = 0; u < kUnroll; ++u) {
      const Simd::F a = Simd::load(x + i + offset(u));
      most[u] = Simd::max(most[u], a);
      poisons[u] = Simd::fma(a, zero, poisons[u]);
    }
  }
  for (int u = 1; u < kUnroll; ++u) {
    most[0] = Simd::max(most[0], most[u]);
    poison = Simd::add(poison, Simd::add(poisons[0], poisons[u]));
  }
  float largest = Simd::largest(most[0]);
  for (; i < n; ++i) {
    largest = x[i] > largest ? x[i] : largest;
    poison = Simd::fma(Simd::set1(x[i]), zero, poison);
  }
  return largest;
}

inline int argmax(const float* x, int n) {
  // The largest value of each stretch first, at the speed of memory; then its
  // place, in the first stretch that has it.
  constexpr int kStretch = 1024;
  Simd::F poison = Simd::zero();
  float best = 0;
  int best_at = -1;
  for (int at = 0; at < n; at += kStretch) {
    const int count = n - at < kStretch ? n - at : kStretch;
    const float largest = largest_of(x + at, count, poison);
    if (best_at < 0 || largest > best) {
      best = largest;
      best_at = at;
    }
  }
  const float poisoned = Simd::sum(poison);
  if (best_at < 0 || poisoned != poisoned) return -1;
  while (x[best_at] != best) ++best_at;
  return best_at;
}

/// The sum of exp((x - largest) * factor) over x [n].
inline float exp_sum(const float* x, int n, float largest, float factor) {
  constexpr int kSums = Simd::kLanes == 1 ? 16 : 4;
  const auto power = [=](Simd::F a) {
    return exp(
        Simd::mul(Simd::sub(a, Simd::set1(largest)), Simd::set1(factor)));
  };
  Simd::F sums[kSums];
  for (auto& sum : sums) sum = Simd::zero();
  int i = 0;
  for (; i + kSums * Simd::kLanes <= n; i += kSums * Simd::kLanes) {
    for (int s = 0; s < kSums; ++s) {
      sums[s] = Simd::add(sums[s], power(Simd::load(x + i + offset(s))));
    }
  }
  for (; i + Simd::kLanes <= n; i += Simd::kLanes) {
    sums[0] = Simd::add(sums[0], power(Simd::load(x + i)));
  }
  for (int width = kSums / 2; width > 0; width /= 2) {
    for (int s = 0; s < width; ++s) {
      sums[s] = Simd::add(sums[s], sums[s + width]);
    }
  }
  float sum = Simd::sum(sums[0]);
  if (i < n) {
    float powers[Simd::kLanes];
    Simd::store(powers, power(Simd::load_part(x + i, n - i)));
    for (int rest = 0; i < n; ++i, ++rest) sum += powers[rest];
  }
  return sum;
}

inline int draw(const float* x, int n, float factor, double uniform) {
  // Stretches short enough for sums in float32, added up in float64. Summing
  // anew costs less than keeping the sums.
  constexpr int kStretch = 1024;
  constexpr int kPart = 32;
  const int likeliest = argmax(x, n);
  if (likeliest < 0) return -1;
  const auto sum_of = [=](int at, int count) {
    return exp_sum(x + at, count, x[likeliest], factor);
  };
  double total = 0;
  for (int at = 0; at < n; at += kStretch) {
    total += sum_of(at, n - at < kStretch ? n - at : kStretch);
  }
  const double target = uniform * total;
  double below = 0;
  int at = 0;
  int end = n;
  for (const int width : {kStretch, kPart}) {
    for (; at + width < end; at += width) {
      const double next = below + sum_of(at, width);
      if (next > target) break;
      below = next;
    }
    if (at + width < end) end = at + width;
  }
  // Sums over more and over fewer values are not rounded alike, so the target
  // may lie past the last of these.
  int last = likeliest;
  for (; at < end; ++at) {
    const float power = sum_of(at, 1);
    below += power;
    if (power > 0) last = at;
    if (below > target) return last;
  }
  return last;
}

/// `count` values of one group, a multiple of 32: `bits` words hold 32.
template <int bits>
void unpack_group(const std::uint32_t* words, int count, float scale,
                  float bias, float* out) {
  constexpr std::uint32_t kMask = (1u << bits) - 1;
  for (int i = 0; i < count; i += 32, words += bits) {
#pragma GCC unroll 32
    for (int v = 0; v < 32; ++v) {
      const int word = v * bits / 32;
      const int shift = v * bits % 32;
      std::uint32_t q = words[word] >> shift;
      if (shift + bits > 32) q |= words[word + 1] << (32 - shift);
      out[i + v] = static_cast<float>(static_cast<int>(q & kMask));
    }
    for (int v = 0; v < 32; v += Simd::kLanes) {
      Simd::store(out + i + v, Simd::fma(Simd::load(out + i + v),
                                         Simd::set1(scale), Simd::set1(bias)));
    }
  }
}

using Unpack = void (*)(const std::uint32_t* words, int count, float scale,
                        float bias, float* out);

inline Unpack unpack_of(int bits) {
  switch (bits) {
    case 2:
      return unpack_group<2>;
    case 3:
      return unpack_group<3>;
    case 4:
      return unpack_group<4>;
    case 5:
      return unpack_group<5>;
    case 6:
      return unpack_group<6>;
    default:
      return unpack_group<8>;
  }
}

inline float value_at(const void* p, ValueType type, long i) {
  float value;
  if (type == ValueType::f32) return static_cast<const float*>(p)[i];
  to_float(static_cast<const std::uint16_t*>(p) + i, type, 1, &value);
  return value;
}

inline void dequantize_row(const WeightView& w, int row, float* out) {
  const WeightFormat& format = w.format;
  const long first = static_cast<long>(row) * w.cols;
  const auto* bytes = static_cast<const char*>(w.data);
  if (format.bits == 0) {
    const int size = format.values == ValueType::f32 ? 4 : 2;
    to_float(bytes + first * size, format.values, w.cols, out);
    return;
  }
  const Unpack unpack = unpack_of(format.bits);
  for (int at = 0; at < w.cols; at += format.group_size) {
    const long group = (first + at) / format.group_size;
    unpack(reinterpret_cast<const std::uint32_t*>(bytes + (first + at) *
                                                              format.bits / 8),
           format.group_size, value_at(w.scales, format.values, group),
           value_at(w.biases, format.values, group), out + at);
  }
}

constexpr VectorKernels kernels_named(std::string_view name, Isa isa) {
  return {name,  isa,      rms_norm, rope,   silu_mul, add,           add_bias,
          scale, to_float, round_to, argmax, draw,     dequantize_row};
}

}  // namespace
}  // namespace llamlx
