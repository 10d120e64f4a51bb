#include "kernels/mlp/choose_experts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace llamlx {

void choose_experts(std::span<float> logits, const ExpertParams& params,
                    std::int32_t* experts, float* shares) {
  constexpr float kTaken = -std::numeric_limits<float>::infinity();
  const int used = params.num_experts_per_tok;
  const float largest = *std::ranges::max_element(logits);
  float sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  const bool is_finite = std::ranges::all_of(
      logits, [](float logit) { return std::isfinite(logit); });
  if (!is_finite) {
    std::iota(experts, experts + used, 0);
    std::fill_n(shares, used, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  float chosen = 0;
  for (int i = 0; i < used; ++i) {
    const auto best = std::ranges::max_element(logits);
    experts[i] = static_cast<std::int32_t>(best - logits.begin());
    shares[i] = std::exp(*best - largest) / sum;
    chosen += shares[i];
    *best = kTaken;
  }
  if (!params.norm_topk_prob) return;
  for (int i = 0; i < used; ++i) shares[i] /= chosen;
}

}  // namespace llamlx
