#include "cpu/limits/limit_kernels.h"

namespace llamlx {
namespace {

constexpr std::size_t kSums = 8;
// Enough sums to hide the latency of an addition behind the others.
constexpr int kAccumulators = 32;

std::uint64_t sum(const std::uint64_t* data, std::size_t words) {
  std::uint64_t sums[kSums] = {};
  for (std::size_t i = 0; i < words; i += kSums) {
    for (std::size_t k = 0; k < kSums; ++k) sums[k] += data[i + k];
  }
  for (std::size_t k = 1; k < kSums; ++k) sums[0] += sums[k];
  return sums[0];
}

void multiply_add(std::int64_t rounds) {
  // The compiler must neither know the factors nor drop the sums.
  volatile float source = 1e-9f;
  volatile float sink;
  const float a = source, b = source;
  float sums[kAccumulators] = {};
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (float& value : sums) value = value * a + b;
  }
  float total = 0;
  for (const float value : sums) total += value;
  sink = total;
  static_cast<void>(sink);
}

}  // namespace

const LimitKernels kLimitsScalar = {
    sum, {{"float32", 2.0 * kAccumulators, multiply_add}}};

}  // namespace llamlx
