#include "cpu/attention/attention_proof.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <new>
#include <random>
#include <vector>

namespace llamlx {
namespace {

struct Aligned {
  explicit Aligned(std::size_t bytes)
      : data(::operator new (std::max<std::size_t>(bytes, 1),
                             std::align_val_t{64})) {
    std::fill_n(static_cast<char*>(data), bytes, 0);
  }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  ~Aligned() { ::operator delete (data, std::align_val_t{64}); }
  void* data;
};

/// Multiples of 1/16 in [-1, 1]: exact in every type of cache.
std::vector<float> random_sixteenths(std::size_t count, unsigned seed) {
  std::minstd_rand random(seed);
  std::vector<float> x(count);
  for (auto& value : x) {
    value = static_cast<float>(static_cast<int>(random() >> 8 & 31) - 16) / 16;
  }
  return x;
}

/// One row's attention to the positions [begin, end), in float64.
std::vector<double> attend_plainly(const float* q, const float* k,
                                   const float* v, int head_dim, int begin,
                                   int end) {
  std::vector<double> out(static_cast<std::size_t>(head_dim));
  double sum = 0;
  for (int j = begin; j < end; ++j) {
    double score = 0;
    for (int d = 0; d < head_dim; ++d) {
      score += static_cast<double>(q[d]) * k[j * head_dim + d];
    }
    const double weight = std::exp(score);
    sum += weight;
    for (int d = 0; d < head_dim; ++d) {
      out[static_cast<std::size_t>(d)] += weight * v[j * head_dim + d];
    }
  }
  for (auto& value : out) value /= sum;
  return out;
}

bool reproduces_reference(const AttentionKernel& kernel, ValueType type,
                          int head_dim, int rows) {
  constexpr int kCapacity = 48;
  constexpr int kPositions = 37;
  const auto size = [=](int n) {
    return static_cast<std::size_t>(n) * static_cast<std::size_t>(head_dim);
  };
  const auto k = random_sixteenths(size(kPositions), 1);
  const auto v = random_sixteenths(size(kPositions), 2);
  auto q = random_sixteenths(size(rows), 3);
  // A power of two, so that q stays exact; scores are about 1.
  const float scale = std::exp2(
      std::round(-std::log2(std::sqrt(static_cast<float>(head_dim)))) + 1);
  for (auto& value : q) value *= scale;

  const Aligned keys(kv_keys_bytes(type, head_dim, kCapacity));
  const Aligned values(kv_values_bytes(type, head_dim, kCapacity));
  const Aligned scratch(kernel.scratch_bytes(head_dim, rows));
  const KVHead head{type, head_dim, kCapacity, keys.data, values.data};
  kernel.append(head, 0, kPositions, k.data(), v.data(), head_dim);
  std::vector<int> first(static_cast<std::size_t>(rows));
  std::vector<int> end(static_cast<std::size_t>(rows));
  for (int r = 0; r < rows; ++r) {
    first[static_cast<std::size_t>(r)] = r % 5;
    end[static_cast<std::size_t>(r)] = kPositions - r % 20;
  }
  std::vector<float> out(size(rows));
  std::vector<float> largest(static_cast<std::size_t>(rows));
  std::vector<float> sum(static_cast<std::size_t>(rows));
  kernel.attend(head, {q.data(), head_dim, rows, first.data(), end.data()}, 0,
                kPositions, scratch.data,
                {out.data(), head_dim, largest.data(), sum.data()});

  // q, k and v are exact, so that weights alone are rounded, to bf16 at the
  // worst: 2^-8 of numbers up to 1. A wrong kernel errs by about 1.
  constexpr double kTolerance = 1.0 / 128;
  for (int r = 0; r < rows; ++r) {
    const auto at = static_cast<std::size_t>(r);
    const auto expected = attend_plainly(q.data() + size(r), k.data(), v.data(),
                                         head_dim, first[at], end[at]);
    for (int d = 0; d < head_dim; ++d) {
      const auto e = static_cast<std::size_t>(d);
      const double error = out[size(r) + e] / sum[at] - expected[e];
      if (!(std::abs(error) <= kTolerance)) return false;
    }
  }
  return true;
}

}  // namespace

bool reproduces_reference(const AttentionKernel& kernel, ValueType type,
                          int head_dim) {
  // Few rows, and more than a tile: kernels may go about them differently.
  return reproduces_reference(kernel, type, head_dim, kernel.min_rows) &&
         reproduces_reference(kernel, type, head_dim, kernel.min_rows + 9);
}

}  // namespace llamlx
