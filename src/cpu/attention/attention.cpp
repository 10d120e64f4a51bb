#include "cpu/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <stdexcept>
#include <tuple>

#include "base/concat.h"
#include "cpu/attention/attention_proof.h"

namespace llamlx {

extern const AttentionKernel kAttentionScalar;
extern const AttentionKernel kAttentionAvx2;
extern const AttentionKernel kAttentionAvx512;
extern const AttentionKernel kAttentionAvx512Bf16;
extern const AttentionKernel kAttentionAmx;
extern const AttentionKernel kAttentionNeon;
extern const AttentionKernel kAttentionNeonBf16;

std::size_t kv_keys_bytes(ValueType type, int head_dim, int capacity) {
  return size_of(type) * static_cast<std::size_t>(head_dim) *
         static_cast<std::size_t>(capacity);
}

std::size_t kv_values_bytes(ValueType type, int head_dim, int capacity) {
  return kv_keys_bytes(type, (head_dim + 15) / 16 * 16, capacity);
}

std::vector<const AttentionKernel*> all_attention_kernels() {
#if defined(__x86_64__)
  return {&kAttentionScalar, &kAttentionAvx2, &kAttentionAvx512,
          &kAttentionAvx512Bf16, &kAttentionAmx};
#elif defined(__aarch64__)
  return {&kAttentionScalar, &kAttentionNeon, &kAttentionNeonBf16};
#else
  return {&kAttentionScalar};
#endif
}

namespace {

/// Whether a kernel was right where it was tried; tried once for a type and a
/// size of heads.
bool is_proved(const AttentionKernel& kernel, ValueType type, int head_dim) {
  static std::mutex mutex;
  static std::map<std::tuple<const AttentionKernel*, ValueType, int>, bool>
      proved;
  const std::lock_guard lock(mutex);
  const auto [at, is_new] = proved.try_emplace({&kernel, type, head_dim}, true);
  if (is_new) at->second = reproduces_reference(kernel, type, head_dim);
  return at->second;
}

/// Processors with tiles multiply pairs of bf16 in vectors at half the speed of
/// float32, which their kernels of few rows better use.
bool is_slow_here(const AttentionKernel& kernel) {
  static const bool has_tiles = is_supported(Isa::amx);
  return kernel.isa == Isa::avx512_bf16 && has_tiles;
}

}  // namespace

const AttentionKernel& attention_kernel(ValueType type, int head_dim,
                                        ValueType compute, int rows) {
  if (head_dim <= 0 || head_dim % 2 != 0) {
    throw std::invalid_argument(
        concat("[attention_kernel] expected an even head_dim, got ", head_dim));
  }
  const auto kernels = all_attention_kernels();
  for (auto at = kernels.rbegin(); at != kernels.rend(); ++at) {
    const AttentionKernel& kernel = **at;
    if (kernel.isa <= active_isa() && !is_slow_here(kernel) &&
        kernel.min_rows <= rows && kernel.supports(type, head_dim, compute) &&
        is_proved(kernel, type, head_dim)) {
      return kernel;
    }
  }
  return kAttentionScalar;
}

int attention_part_length(int positions) {
  const int eighth = (positions / 8 + kKeyBlock - 1) / kKeyBlock * kKeyBlock;
  return std::clamp(eighth, 256, 1024);
}

void join_attention(const float* part_out, std::ptrdiff_t stride,
                    const float* largest, const float* sum, int step, int parts,
                    int head_dim, float* out) {
  const auto at = [=](std::ptrdiff_t part) { return part * step; };
  float most = -std::numeric_limits<float>::infinity();
  for (int p = 0; p < parts; ++p) most = std::max(most, largest[at(p)]);
  std::fill_n(out, head_dim, 0.0f);
  if (std::isinf(most) && most < 0) most = 0;  // nothing was seen, or only NaN
  float total = 0;
  for (int p = 0; p < parts; ++p) {
    const float weight = std::exp(largest[at(p)] - most);
    total += weight * sum[at(p)];
    const float* from = part_out + p * stride;
    for (int e = 0; e < head_dim; ++e) out[e] += weight * from[e];
  }
  if (total == 0) return;
  for (int e = 0; e < head_dim; ++e) out[e] /= total;
}

}  // namespace llamlx
