// Quantisation over struct Simd and struct Codes, which the file that includes
// this one has included before. See src/cpu/README.md. Codes has:
//   store(p, a)      kLanes numbers in [0, 255] as bytes, rounded, ties to even
//   kStep            how many bytes pack() takes
//   pack(p, bits, q) packs kStep bytes; writes up to kSlack bytes more
//
// Why rounding is right whatever the order: every operation on a value (minus,
// division, rounding, clipping) is one of IEEE's and done alone, and minimum
// and maximum do not depend on the order, but for the sign of a zero, which
// never reaches a result.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/quantize/quantize.h"
#include "cpu/simd/simd_types.inl.h"

namespace llamlx {
namespace {

// Groups are taken so many at once, their scales in the lanes of a vector.
inline constexpr int kGroups = 16;
inline constexpr int kLargestGroup = 128;

struct Ranges {
  float least[kGroups];
  float most[kGroups];
};

struct Steps {
  float scale[kGroups];
  float bias[kGroups];
};

/// Not NaN while all that it was given is finite, as 0 times a number is 0.
struct FiniteCheck {
  Simd::F sum = Simd::zero();
  void add(Simd::F a) { sum = Simd::add(sum, Simd::mul(a, Simd::zero())); }
  bool passed() const { return Simd::sum(sum) == 0; }
};

/// Reads groups as floats of Out's precision, and finds their ranges.
template <typename In, typename Out>
void read_groups(const typename In::Value* values, int groups, int group_size,
                 float* floats, Ranges& ranges, FiniteCheck& check) {
  // A copy, as what is stored might else be it.
  FiniteCheck local = check;
  for (int g = 0; g < groups; ++g) {
    const auto begin = static_cast<std::ptrdiff_t>(g) * group_size;
    Simd::F most = Simd::set1(-__builtin_inff());
    Simd::F least = Simd::set1(-__builtin_inff());  // of the negated values
    for (int i = 0; i < group_size; i += Simd::kLanes) {
      Simd::F a = In::load(values + begin + i);
      local.add(a);
      if constexpr (sizeof(typename Out::Value) == 2 && !__is_same(In, Out)) {
        typename Out::Value rounded[Simd::kLanes];
        Out::store(rounded, a);
        a = Out::load(rounded);
      }
      Simd::store(floats + begin + i, a);
      most = Simd::max(most, a);
      least = Simd::max(least, Simd::sub(Simd::zero(), a));
    }
    ranges.most[g] = Simd::largest(most);
    ranges.least[g] = -Simd::largest(least);
  }
  check = local;
}

/// The scale of a group is its range over the number of steps, negative where
/// the highest value lies farther from 0 than the lowest. Then that end is
/// given a whole number of steps, so that it and 0 have codes of their own.
inline void choose_steps(const Ranges& ranges, float last_code, Steps& steps) {
  constexpr float kSmallest = 1e-7f;
  float edges[kGroups];
  float whole[kGroups];  // steps from 0 to the edge
  for (int g = 0; g < kGroups; ++g) {
    const float least = ranges.least[g];
    const float most = ranges.most[g];
    const bool down = __builtin_fabsf(least) > __builtin_fabsf(most);
    const float share = (most - least) / last_code;
    const float size = share < kSmallest ? kSmallest : share;
    steps.scale[g] = down ? size : -size;
    edges[g] = down ? least : most;
    whole[g] = edges[g] / steps.scale[g];
  }
  for (int g = 0; g < kGroups; g += Simd::kLanes) {
    Simd::store(whole + g, Simd::round(Simd::load(whole + g)));
  }
  for (int g = 0; g < kGroups; ++g) {
    const float fitted = edges[g] / whole[g];
    steps.scale[g] = whole[g] != 0 ? fitted : steps.scale[g];
    steps.bias[g] = whole[g] != 0 ? edges[g] : 0;
  }
}

inline void write_codes(const float* floats, int groups, int group_size,
                        float last_code, const Steps& steps,
                        std::uint8_t* codes) {
  const Simd::F last = Simd::set1(last_code);
  for (int g = 0; g < groups; ++g) {
    const Simd::F scale = Simd::set1(steps.scale[g]);
    const Simd::F bias = Simd::set1(steps.bias[g]);
    for (int i = g * group_size; i < (g + 1) * group_size; i += Simd::kLanes) {
      // A product with the inverse would need two corrections for the same
      // bits, and was no faster (Zen 5).
      const Simd::F code =
          Simd::div(Simd::sub(Simd::load(floats + i), bias), scale);
      Codes::store(codes + i, Simd::min(Simd::max(code, Simd::zero()), last));
    }
  }
}

template <typename Out>
void write_values(const float* floats, int count, void* out,
                  FiniteCheck& check) {
  typename Out::Value values[kGroups];
  for (int i = 0; i < kGroups; i += Simd::kLanes) {
    Out::store(values + i, Simd::load(floats + i));
    check.add(Out::load(values + i));
  }
  std::memcpy(out, values, static_cast<std::size_t>(count) * sizeof(*values));
}

template <typename In, typename Out>
Finiteness quantize_as(const WeightFormat& format, const void* values,
                       std::int64_t groups, const QuantizedRows& out) {
  const int size = format.group_size;
  const float last_code = static_cast<float>((1 << format.bits) - 1);
  alignas(64) float floats[kGroups * kLargestGroup];
  alignas(64) std::uint8_t codes[kGroups * kLargestGroup];
  alignas(64) std::uint8_t packed[kGroups * kLargestGroup + Codes::kSlack];
  Ranges ranges = {};
  Steps steps;
  FiniteCheck source;
  FiniteCheck result;
  for (std::int64_t at = 0; at < groups; at += kGroups) {
    const auto count =
        static_cast<int>(groups - at < kGroups ? groups - at : kGroups);
    read_groups<In, Out>(
        static_cast<const typename In::Value*>(values) + at * size, count, size,
        floats, ranges, source);
    choose_steps(ranges, last_code, steps);
    auto* scales = static_cast<typename Out::Value*>(out.scales) + at;
    auto* biases = static_cast<typename Out::Value*>(out.biases) + at;
    write_values<Out>(steps.scale, count, scales, result);
    write_values<Out>(steps.bias, count, biases, result);
    write_codes(floats, count, size, last_code, steps, codes);
    std::uint8_t* to = packed;
    for (int i = 0; i < count * size; i += Codes::kStep) {
      Codes::pack(codes + i, format.bits, to);
      to += static_cast<std::ptrdiff_t>(Codes::kStep / 8) * format.bits;
    }
    std::memcpy(
        static_cast<std::uint8_t*>(out.data) + at * size / 8 * format.bits,
        packed, static_cast<std::size_t>(to - packed));
  }
  return {source.passed(), result.passed()};
}

template <typename In>
Finiteness quantize_from(const WeightFormat& format, const void* values,
                         std::int64_t groups, const QuantizedRows& out) {
  switch (format.values) {
    case ValueType::f16:
      return quantize_as<In, InF16>(format, values, groups, out);
    case ValueType::bf16:
      return quantize_as<In, InBf16>(format, values, groups, out);
    default:
      return quantize_as<In, InF32>(format, values, groups, out);
  }
}

inline Finiteness quantize_groups(const WeightFormat& format,
                                  const void* values, ValueType source,
                                  std::int64_t groups,
                                  const QuantizedRows& out) {
  switch (source) {
    case ValueType::f16:
      return quantize_from<InF16>(format, values, groups, out);
    case ValueType::bf16:
      return quantize_from<InBf16>(format, values, groups, out);
    default:
      return quantize_from<InF32>(format, values, groups, out);
  }
}

}  // namespace
}  // namespace llamlx
