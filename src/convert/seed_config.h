#pragma once

#include <vector>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "convert/conversion_plan.h"
#include "models/model_config.h"

namespace llamlx {

/// The config.json beside npz weights, in Meta's words, as mlx-examples'
/// llama.py reads it:
///
/// - of a checkpoint told in Meta's words its own keys, as they are and in
///   their order;
/// - of others what its convert.py writes, and "rope_theta" and "head_dim"
/// where
///   they differ from what llama.py takes for granted, which convert.py forgot;
/// - of a model that llama.py cannot run (scaled positions, biases, a sliding
///   window, another family) all other keys of the config as well: llama.py
///   refuses them, and llamlx loses nothing;
/// - "model_type", and "quantization" where weights are packed.
OrderedJson seed_config(const Checkpoint& checkpoint, const ModelConfig& model,
                        const std::vector<PlannedWeight>& weights);

/// Whether llama.py has all the model's parameters, and computes the same with
/// them.
bool is_known_to_llama_py(const ModelConfig& model);

}  // namespace llamlx
