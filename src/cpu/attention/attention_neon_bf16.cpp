#include "cpu/simd/simd_neon.h"

namespace llamlx {
namespace {

/// 16 sums and 4 vectors of keys or values, of 32 registers.
struct Shape {
  static constexpr int kRows = 4;
  static constexpr int kVectors = 4;
};

}  // namespace
}  // namespace llamlx

#include "cpu/attention/attention_tiles.inl.h"

namespace llamlx {
namespace {

/// Pairs of bf16 are multiplied as they lie: eight products an instruction,
/// twice float32's. A pair's sum and its addition are rounded to odd, by less
/// than 2^-23 of themselves each: over n products no more than float32's n + 2
/// roundings.
struct Bf16Pairs {
  using Value = std::uint16_t;
  using Query = std::uint16_t;
  using Pair = bfloat16x8_t;
  static constexpr int kPair = 2;
  static Pair load(const Value* p, int /*step*/) {
    return vreinterpretq_bf16_u16(vld1q_u16(p));
  }
  static Simd::F dot(const Query* two, Pair pair, Simd::F sum) {
    std::uint32_t both;
    std::memcpy(&both, two, sizeof(both));
    return vbfdotq_f32(sum, pair, vreinterpretq_bf16_u32(vdupq_n_u32(both)));
  }
};

void round_row(const float* from, int count, std::uint16_t* to) {
  for (int i = 0; i < count; i += 8) {
    const bfloat16x8_t low = vcvtq_low_bf16_f32(vld1q_f32(from + i));
    vst1q_u16(to + i, vreinterpretq_u16_bf16(
                          vcvtq_high_bf16_f32(low, vld1q_f32(from + i + 4))));
  }
}

}  // namespace
}  // namespace llamlx

#include "cpu/attention/attention_bf16.inl.h"

namespace llamlx {

extern constinit const AttentionKernel kAttentionNeonBf16 =
    kernel_named("attention_neon_bf16", Isa::neon_bf16);

}  // namespace llamlx
