#pragma once

#include <span>
#include <string_view>

#include "models/model_config.h"

namespace llamlx {

/// A family of models: what config.json calls it, and how to read that config.
/// Everything else about a model follows from its ModelConfig.
struct ModelFamily {
  std::string_view model_type;
  ModelConfig (*read_config)(const Json& config, std::string_view subject);
};

/// Every family there is, one row each.
std::span<const ModelFamily> model_families();

/// The row whose model_type is `model_type`, or nullptr.
const ModelFamily* find_family(std::string_view model_type);

/// Meta's Llama 1, 2, 3 and what shares their config (llama.cpp).
ModelConfig read_llama_config(const Json& config, std::string_view subject);

}  // namespace llamlx
