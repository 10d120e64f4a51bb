#include <arm_neon.h>

#include "cpu/limits/limit_kernels.h"

namespace llamlx {
namespace {

constexpr int kAccumulators = 20;

void matrix_int8(std::int64_t rounds) {
  int32x4_t sums[kAccumulators];
  for (auto& value : sums) value = vdupq_n_s32(0);
  auto a = vdupq_n_s8(1);
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (auto& value : sums) value = vmmlaq_s32(value, a, a);
    asm volatile("" : "+w"(a));  // each round is computed anew
  }
  for (auto& value : sums) asm volatile("" ::"w"(value));
}

}  // namespace

const LimitKernels kLimitsNeonI8mm = {
    nullptr, {{"int8", 2.0 * 32 * kAccumulators, matrix_int8}}};

}  // namespace llamlx
