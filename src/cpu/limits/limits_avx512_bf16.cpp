#include <immintrin.h>

#include "cpu/limits/limit_kernels.h"

namespace llamlx {
namespace {

constexpr int kAccumulators = 16;
constexpr short kOne = 0x3f80;  // 1.0 in bfloat16

void dot_bf16(std::int64_t rounds) {
  __m512 sums[kAccumulators];
  for (auto& value : sums) value = _mm512_setzero_ps();
  auto a = _mm512_set1_epi16(kOne);
  for (std::int64_t round = 0; round < rounds; ++round) {
    const auto factor = reinterpret_cast<__m512bh>(a);
    for (auto& value : sums) value = _mm512_dpbf16_ps(value, factor, factor);
    asm volatile("" : "+v"(a));  // each round is computed anew
  }
  for (auto& value : sums) asm volatile("" ::"v"(value));
}

}  // namespace

const LimitKernels kLimitsAvx512Bf16 = {
    nullptr, {{"bfloat16", 2.0 * 32 * kAccumulators, dot_bf16}}};

}  // namespace llamlx
