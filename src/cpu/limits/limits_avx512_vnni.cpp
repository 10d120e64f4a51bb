#include <immintrin.h>

#include "cpu/limits/limit_kernels.h"

namespace llamlx {
namespace {

constexpr int kAccumulators = 16;

void dot_int8(std::int64_t rounds) {
  __m512i sums[kAccumulators];
  for (auto& value : sums) value = _mm512_setzero_si512();
  auto a = _mm512_set1_epi8(1);
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (auto& value : sums) value = _mm512_dpbusd_epi32(value, a, a);
    asm volatile("" : "+v"(a));  // each round is computed anew
  }
  for (auto& value : sums) asm volatile("" ::"v"(value));
}

}  // namespace

const LimitKernels kLimitsAvx512Vnni = {
    nullptr, {{"int8", 2.0 * 64 * kAccumulators, dot_int8}}};

}  // namespace llamlx
