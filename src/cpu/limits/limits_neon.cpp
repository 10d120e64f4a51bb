#include <arm_neon.h>

#include "cpu/limits/limit_kernels.h"

namespace llamlx {
namespace {

constexpr std::size_t kSums = 8;
// Four units of a latency of four.
constexpr int kAccumulators = 20;

std::uint64_t sum(const std::uint64_t* data, std::size_t words) {
  uint64x2_t sums[kSums];
  for (auto& value : sums) value = vdupq_n_u64(0);
  for (std::size_t i = 0; i < words; i += 2 * kSums) {
    for (std::size_t k = 0; k < kSums; ++k) {
      sums[k] = vaddq_u64(sums[k], vld1q_u64(data + i + 2 * k));
    }
  }
  for (std::size_t k = 1; k < kSums; ++k) sums[0] = vaddq_u64(sums[0], sums[k]);
  return vaddvq_u64(sums[0]);
}

void multiply_add(std::int64_t rounds) {
  float32x4_t sums[kAccumulators];
  for (auto& value : sums) value = vdupq_n_f32(0);
  auto a = vdupq_n_f32(1e-9f);
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (auto& value : sums) value = vfmaq_f32(value, a, a);
    asm volatile("" : "+w"(a));  // each round is computed anew
  }
  for (auto& value : sums) asm volatile("" ::"w"(value));
}

}  // namespace

const LimitKernels kLimitsNeon = {
    sum, {{"float32", 2.0 * 4 * kAccumulators, multiply_add}}};

}  // namespace llamlx
