#include <immintrin.h>

#include "cpu/limits/limit_kernels.h"

namespace llamlx {
namespace {

constexpr std::size_t kSums = 8;
constexpr int kAccumulators = 16;

std::uint64_t sum(const std::uint64_t* data, std::size_t words) {
  __m512i sums[kSums];
  for (auto& value : sums) value = _mm512_setzero_si512();
  for (std::size_t i = 0; i < words; i += 8 * kSums) {
    for (std::size_t k = 0; k < kSums; ++k) {
      sums[k] = _mm512_add_epi64(sums[k], _mm512_load_si512(data + i + 8 * k));
    }
  }
  for (std::size_t k = 1; k < kSums; ++k)
    sums[0] = _mm512_add_epi64(sums[0], sums[k]);
  alignas(64) std::uint64_t lanes[8];
  _mm512_store_si512(lanes, sums[0]);
  for (int k = 1; k < 8; ++k) lanes[0] += lanes[k];
  return lanes[0];
}

void multiply_add(std::int64_t rounds) {
  __m512 sums[kAccumulators];
  for (auto& value : sums) value = _mm512_setzero_ps();
  auto a = _mm512_set1_ps(1e-9f);
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (auto& value : sums) value = _mm512_fmadd_ps(a, a, value);
    asm volatile("" : "+v"(a));  // each round is computed anew
  }
  for (auto& value : sums) asm volatile("" ::"v"(value));
}

}  // namespace

const LimitKernels kLimitsAvx512 = {
    sum, {{"float32", 2.0 * 16 * kAccumulators, multiply_add}}};

}  // namespace llamlx
