#pragma once

// Packed codes to bytes on 64-bit ARM, 32 neighbours of a row (a "unit") at a
// time: they divide every group, and are whole bytes, of which no other is
// read.

#include <cstdint>

#include <arm_neon.h>

#include "cpu/matmul/qmv_parts.inl.h"

namespace llamlx {
namespace {

inline constexpr int kUnit = 32;
constexpr int unit_bytes(int bits) { return kUnit / 8 * bits; }

// Sixteen codes of 3, 5 or 6 bits, which begin at bit 0 of byte `first` of
// `bytes`, in their order: two neighbours are never in more than two bytes.
template <int bits, int first>
uint8x16_t spread(uint8x16_t bytes) {
  constexpr auto kFrom = [] {
    struct {
      std::uint8_t byte[16];
      std::int16_t shift[8];
    } from{};
    for (int i = 0; i < 8; ++i) {
      const int bit = 2 * bits * i;
      from.byte[2 * i] = static_cast<std::uint8_t>(first + bit / 8);
      from.byte[2 * i + 1] = static_cast<std::uint8_t>(first + bit / 8 + 1);
      from.shift[i] = static_cast<std::int16_t>(-(bit % 8));
    }
    return from;
  }();
  const uint16x8_t twos =
      vshlq_u16(vreinterpretq_u16_u8(vqtbl1q_u8(bytes, vld1q_u8(kFrom.byte))),
                vld1q_s16(kFrom.shift));
  uint16x8_t apart;
  if constexpr (2 * bits <= 8) {
    // What is inserted over the first code's byte stays above it.
    apart = vsliq_n_u16(twos, twos, 8 - bits);
  } else {
    apart = vbslq_u16(vdupq_n_u16(0x00ff), twos, vshlq_n_u16(twos, 8 - bits));
  }
  return vandq_u8(vreinterpretq_u8_u16(apart), vdupq_n_u8((1 << bits) - 1));
}

// The unit at p: codes 2 i and 2 i + 1 of 4 bits; of 2 bits, 4 i and 4 i + 1
// one after another, then 4 i + 2 and 4 i + 3; others in their order.
template <int bits>
[[gnu::always_inline]] inline void unpack_unit(const Byte* p,
                                               uint8x16_t (&code)[2]) {
  if constexpr (bits == 8) {
    code[0] = vld1q_u8(p);
    code[1] = vld1q_u8(p + 16);
  } else if constexpr (bits == 4) {
    const uint8x16_t packed = vld1q_u8(p);
    code[0] = vandq_u8(packed, vdupq_n_u8(15));
    code[1] = vshrq_n_u8(packed, 4);
  } else if constexpr (bits == 2) {
    const uint8x8_t half = vld1_u8(p);
    const uint8x16_t packed = vcombine_u8(half, half);
    const int8x16_t first = vcombine_s8(vdup_n_s8(0), vdup_n_s8(-2));
    const int8x16_t second = vcombine_s8(vdup_n_s8(-4), vdup_n_s8(-6));
    code[0] = vandq_u8(vshlq_u8(packed, first), vdupq_n_u8(3));
    code[1] = vandq_u8(vshlq_u8(packed, second), vdupq_n_u8(3));
  } else if constexpr (bits == 3) {
    // Two loads that overlap, as sixteen bytes may not be there.
    code[0] = spread<3, 0>(vcombine_u8(vld1_u8(p), vdup_n_u8(0)));
    code[1] = spread<3, 2>(vcombine_u8(vld1_u8(p + 4), vdup_n_u8(0)));
  } else {
    constexpr int kHalf = 2 * bits;
    constexpr int kLate = unit_bytes(bits) - 16;
    code[0] = spread<bits, 0>(vld1q_u8(p));
    code[1] = spread<bits, kHalf - kLate>(vld1q_u8(p + kLate));
  }
}

}  // namespace
}  // namespace llamlx
