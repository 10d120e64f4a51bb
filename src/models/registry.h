#pragma once

#include <span>
#include <string_view>

#include "checkpoint/checkpoint.h"
#include "models/model_config.h"

namespace llamlx {

/// A family of models: what config.json calls it, and how to read that config.
/// Everything else about a model follows from its ModelConfig.
struct ModelFamily {
  std::string_view model_type;
  ModelConfig (*read_config)(const Checkpoint& checkpoint);
};

/// Every family there is, one row each.
std::span<const ModelFamily> model_families();

/// The row whose model_type is `model_type`, or nullptr.
const ModelFamily* find_family(std::string_view model_type);

/// Meta's Llama 1, 2, 3 and what shares their config (llama.cpp). Layers slide
/// where "layer_types" says so, as in mlx_lm.
ModelConfig read_llama_config(const Checkpoint& checkpoint);

/// Mistral AI's dense models (mistral.cpp): all layers slide, or none.
/// Source: Jiang et al. 2023, "Mistral 7B", arXiv:2310.06825.
ModelConfig read_mistral_config(const Checkpoint& checkpoint);

/// Qwen 1.5, 2 and 2.5 (qwen2.cpp): biases on queries, keys and values.
/// Source: Yang et al. 2024, "Qwen2 Technical Report", arXiv:2407.10671.
ModelConfig read_qwen2_config(const Checkpoint& checkpoint);

/// Qwen 3's dense models (qwen3.cpp): queries and keys are normed.
/// Source: Yang et al. 2025, "Qwen3 Technical Report", arXiv:2505.09388.
ModelConfig read_qwen3_config(const Checkpoint& checkpoint);

/// Mistral AI's mixtures of experts (mixtral.cpp): all layers slide, or none.
/// Source: Jiang et al. 2024, "Mixtral of Experts", arXiv:2401.04088.
ModelConfig read_mixtral_config(const Checkpoint& checkpoint);

/// Qwen 3's mixtures of experts (qwen3_moe.cpp): some layers may have one mlp.
/// Source: as qwen3.
ModelConfig read_qwen3_moe_config(const Checkpoint& checkpoint);

}  // namespace llamlx
