#pragma once

#include <vector>

#include "models/model_config.h"

namespace llamlx {

/// The periods (1 / inv_freq) of the head_dim / 2 pairs of a rotated head, with
/// every kind of scaling folded in. Computed in float64.
/// Source: transformers' modeling_rope_utils; for llama3, the Llama 3.1 model
/// card's reference implementation.
std::vector<float> rope_periods(const RopeConfig& rope, int head_dim);

}  // namespace llamlx
