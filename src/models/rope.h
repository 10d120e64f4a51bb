#pragma once

#include <vector>

#include "models/model_config.h"

namespace llamlx {

/// The periods (1 / inv_freq) of the head_dim / 2 pairs of a rotated head, with
/// every kind of scaling folded in. Computed in float64.
///
/// `length` counts for dynamic scaling alone: the tokens of the sequence when
/// these periods turn it. Up to the context before scaling they are plain; from
/// there on they stretch with every token, and rows that are in a cache keep
/// the periods they were turned by. So does transformers for a model's first
/// sequence (its frequencies outlive a long one, and a later sequence between
/// the two lengths meets them; here every sequence begins anew). mlx_lm's rule
/// is the same, but for a prompt that it takes in several chunks.
///
/// Source: transformers' modeling_rope_utils; for llama3, the Llama 3.1 model
/// card's reference implementation.
std::vector<float> rope_periods(const RopeConfig& rope, int head_dim,
                                int length = 0);

}  // namespace llamlx
