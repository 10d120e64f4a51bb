#include <immintrin.h>

#include "cpu/limits/limit_kernels.h"

namespace llamlx {
namespace {

constexpr std::size_t kSums = 8;
// Two units of a latency of four or five; 16 registers hold these and factors.
constexpr int kAccumulators = 12;

std::uint64_t sum(const std::uint64_t* data, std::size_t words) {
  __m256i sums[kSums];
  for (auto& value : sums) value = _mm256_setzero_si256();
  for (std::size_t i = 0; i < words; i += 4 * kSums) {
    for (std::size_t k = 0; k < kSums; ++k) {
      const auto* at = reinterpret_cast<const __m256i*>(data + i + 4 * k);
      sums[k] = _mm256_add_epi64(sums[k], _mm256_load_si256(at));
    }
  }
  for (std::size_t k = 1; k < kSums; ++k)
    sums[0] = _mm256_add_epi64(sums[0], sums[k]);
  alignas(32) std::uint64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sums[0]);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

void multiply_add(std::int64_t rounds) {
  __m256 sums[kAccumulators];
  for (auto& value : sums) value = _mm256_setzero_ps();
  auto a = _mm256_set1_ps(1e-9f);
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (auto& value : sums) value = _mm256_fmadd_ps(a, a, value);
    asm volatile("" : "+x"(a));  // each round is computed anew
  }
  for (auto& value : sums) asm volatile("" ::"x"(value));
}

}  // namespace

const LimitKernels kLimitsAvx2 = {
    sum, {{"float32", 2.0 * 8 * kAccumulators, multiply_add}}};

}  // namespace llamlx
