#pragma once

#include <cstdint>
#include <span>

#include "kernels/mlp/mlp.h"

namespace llamlx {

/// Chooses a row's experts as experts_mlx() does: `experts` [k] get the indices
/// of the largest of `logits` [E], largest first and of equal ones the first,
/// `shares` [k] theirs. k is params.num_experts_per_tok, at most E. Overwrites
/// the chosen logits. Where a logit is not finite all shares are NaN, and the
/// experts any k different ones.
void choose_experts(std::span<float> logits, const ExpertParams& params,
                    std::int32_t* experts, float* shares);

}  // namespace llamlx
