#pragma once

// The vector of a machine without vectors: one lane. What every Simd has is
// said in src/cpu/README.md; everything here is local to the file that includes
// it, as each is compiled for an instruction set of its own.

#include <cstdint>
#include <cstring>

namespace llamlx {
namespace {

struct Simd {
  using F = float;
  static constexpr int kLanes = 1;

  static F zero() { return 0; }
  static F set1(float a) { return a; }
  static F load(const float* p) { return *p; }
  static void store(float* p, F a) { *p = a; }
  static F load_part(const float* p, int count) { return count > 0 ? *p : 0; }
  static void store_part(float* p, F a, int count) {
    if (count > 0) *p = a;
  }
  static F load_bf16(const std::uint16_t* p) {
    return float_of(std::uint32_t{*p} << 16);
  }
  static F load_f16(const std::uint16_t* p) { return half_to_float(*p); }
  static void load_bf16_pairs(const std::uint16_t* p, F& even, F& odd) {
    even = load_bf16(p);
    odd = load_bf16(p + 1);
  }
  static void load_f16_pairs(const std::uint16_t* p, F& even, F& odd) {
    even = load_f16(p);
    odd = load_f16(p + 1);
  }
  static void store_bf16(std::uint16_t* p, F a) {
    const std::uint32_t bits = bits_of(a);
    const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
    const std::uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    *p = static_cast<std::uint16_t>((is_nan ? bits | 0x400000 : rounded) >> 16);
  }
  static void store_f16(std::uint16_t* p, F a) { *p = float_to_half(a); }

  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F div(F a, F b) { return a / b; }
  static F fma(F a, F b, F c) { return a * b + c; }
  static F max(F a, F b) { return a > b ? a : b; }
  static F min(F a, F b) { return a < b ? a : b; }
  static F round(F a) {
    // From 2^23 on there are no fractions; below, adding it leaves no bits for
    // them.
    constexpr float kNoFraction = 8388608;
    const float magnitude = __builtin_fabsf(a);
    const float whole = (magnitude + kNoFraction) - kNoFraction;
    return magnitude < kNoFraction ? __builtin_copysignf(whole, a) : a;
  }
  static F pow2(F n) {
    if (n != n) return n;
    return float_of((static_cast<std::uint32_t>(static_cast<int>(n)) + 127)
                    << 23);
  }
  static F load_words(const void* p) {
    F a;
    std::memcpy(&a, p, sizeof(a));
    return a;
  }
  template <int at, int bits>
  static F number_at(F word, F next) {
    std::uint64_t both = std::uint64_t{bits_of(next)} << 32 | bits_of(word);
    return static_cast<F>(both >> at & ((1u << bits) - 1));
  }
  static void transpose(F (&)[kLanes]) {}

  static float sum(F a) { return a; }
  static float largest(F a) { return a; }

  static std::uint32_t bits_of(float a) {
    std::uint32_t bits;
    std::memcpy(&bits, &a, sizeof(bits));
    return bits;
  }
  static float float_of(std::uint32_t bits) {
    float a;
    std::memcpy(&a, &bits, sizeof(a));
    return a;
  }

  // IEEE half precision without an instruction for it. Exponents are moved by
  // multiplication, which also makes subnormal numbers right.
  static float half_to_float(std::uint16_t half) {
    const std::uint32_t sign = std::uint32_t{half} >> 15 << 31;
    const std::uint32_t magnitude = half & 0x7fffu;
    if (magnitude >= 0x7c00) {  // infinity, NaN
      return float_of(sign | 0x7f800000 | (magnitude & 0x3ffu) << 13);
    }
    const float scaled = float_of(magnitude << 13) * float_of(0x77800000);
    return float_of(sign | bits_of(scaled));
  }
  static std::uint16_t float_to_half(float a) {
    const std::uint32_t sign = bits_of(a) >> 31 << 15;
    const std::uint32_t magnitude = bits_of(a) & 0x7fffffff;
    std::uint32_t half;
    if (magnitude > 0x7f800000) {  // NaN
      half = 0x7e00 | (magnitude >> 13 & 0x3ff);
    } else if (magnitude >= 0x477ff000) {  // rounds to infinity
      half = 0x7c00;
    } else if (magnitude < 0x38800000) {  // subnormal: let the sum round
      half = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000;
    } else {
      half = (magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13;
    }
    return static_cast<std::uint16_t>(sign | half);
  }
};

}  // namespace
}  // namespace llamlx
