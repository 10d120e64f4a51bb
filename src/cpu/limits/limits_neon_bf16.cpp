#include <arm_neon.h>

#include "cpu/limits/limit_kernels.h"

namespace llamlx {
namespace {

constexpr int kAccumulators = 20;

void matrix_bf16(std::int64_t rounds) {
  float32x4_t sums[kAccumulators];
  for (auto& value : sums) value = vdupq_n_f32(0);
  auto a = vdupq_n_s8(1);
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (auto& value : sums)
      value = vbfmmlaq_f32(value, vreinterpretq_bf16_s8(a),
                           vreinterpretq_bf16_s8(a));
    asm volatile("" : "+w"(a));  // each round is computed anew
  }
  for (auto& value : sums) asm volatile("" ::"w"(value));
}

}  // namespace

const LimitKernels kLimitsNeonBf16 = {
    nullptr, {{"bfloat16", 2.0 * 16 * kAccumulators, matrix_bf16}}};

}  // namespace llamlx
