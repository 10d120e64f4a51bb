#pragma once

// Four floats: 64-bit ARM as it always is. See src/cpu/README.md.

#include <cstdint>
#include <cstring>

#include <arm_neon.h>

namespace llamlx {
namespace {

struct Simd {
  using F = float32x4_t;
  static constexpr int kLanes = 4;

  static F zero() { return vdupq_n_f32(0); }
  static F set1(float a) { return vdupq_n_f32(a); }
  static F load(const float* p) { return vld1q_f32(p); }
  static void store(float* p, F a) { vst1q_f32(p, a); }
  static F load_part(const float* p, int count) {
    float lanes[kLanes] = {};
    for (int i = 0; i < kLanes && i < count; ++i) lanes[i] = p[i];
    return vld1q_f32(lanes);
  }
  static void store_part(float* p, F a, int count) {
    float lanes[kLanes];
    vst1q_f32(lanes, a);
    for (int i = 0; i < kLanes && i < count; ++i) p[i] = lanes[i];
  }
  static F load_bf16(const std::uint16_t* p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
  }
  static F load_f16(const std::uint16_t* p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
  }
  static void load_bf16_pairs(const std::uint16_t* p, F& even, F& odd) {
    const uint16x4x2_t apart = vld2_u16(p);
    even = vreinterpretq_f32_u32(vshll_n_u16(apart.val[0], 16));
    odd = vreinterpretq_f32_u32(vshll_n_u16(apart.val[1], 16));
  }
  static void load_f16_pairs(const std::uint16_t* p, F& even, F& odd) {
    const uint16x4x2_t apart = vld2_u16(p);
    even = vcvt_f32_f16(vreinterpret_f16_u16(apart.val[0]));
    odd = vcvt_f32_f16(vreinterpret_f16_u16(apart.val[1]));
  }
  static void store_bf16(std::uint16_t* p, F a) {
    const uint32x4_t bits = vreinterpretq_u32_f32(a);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded =
        vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    vst1_u16(p, vshrn_n_u32(vbslq_u32(vceqq_f32(a, a), rounded, quiet), 16));
  }
  static void store_f16(std::uint16_t* p, F a) {
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a)));
  }

  static F add(F a, F b) { return vaddq_f32(a, b); }
  static F sub(F a, F b) { return vsubq_f32(a, b); }
  static F mul(F a, F b) { return vmulq_f32(a, b); }
  static F div(F a, F b) { return vdivq_f32(a, b); }
  static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  static F max(F a, F b) { return vmaxq_f32(a, b); }
  static F min(F a, F b) { return vminq_f32(a, b); }
  static F round(F a) { return vrndnq_f32(a); }
  static F pow2(F n) {
    return vreinterpretq_f32_s32(
        vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23));
  }
  static F load_words(const void* p) {
    return vreinterpretq_f32_u8(vld1q_u8(static_cast<const std::uint8_t*>(p)));
  }
  template <int at, int bits>
  static F number_at(F word, F next) {
    uint32x4_t number = vreinterpretq_u32_f32(word);
    if constexpr (at > 0) number = vshrq_n_u32(number, at);
    if constexpr (at + bits > 32) {
      const uint32x4_t rest = vshlq_n_u32(vreinterpretq_u32_f32(next), 32 - at);
      number = vorrq_u32(number, rest);
    }
    if constexpr (at + bits != 32) {
      number = vandq_u32(number, vdupq_n_u32((1u << bits) - 1));
    }
    return vcvtq_f32_u32(number);
  }
  static void transpose(F (&rows)[kLanes]) {
    const float32x4x2_t low = vzipq_f32(rows[0], rows[2]);
    const float32x4x2_t high = vzipq_f32(rows[1], rows[3]);
    const float32x4x2_t first = vzipq_f32(low.val[0], high.val[0]);
    const float32x4x2_t last = vzipq_f32(low.val[1], high.val[1]);
    rows[0] = first.val[0];
    rows[1] = first.val[1];
    rows[2] = last.val[0];
    rows[3] = last.val[1];
  }

  static float sum(F a) { return vaddvq_f32(a); }
  static float largest(F a) { return vmaxvq_f32(a); }
};

}  // namespace
}  // namespace llamlx
