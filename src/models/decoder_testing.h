#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/decoder.h"
#include "models/random_checkpoint.h"

// Only *_test.cpp files include this.
namespace llamlx::testing {

struct Variant {
  const char* name;
  Json changes;
};

inline Json tiny_config(const Json& changes) {
  auto config = RandomCheckpoint::tiny_config();
  config.update(changes);
  return config;
}

inline const std::vector<Variant> kVariants = {
    Variant{"Grouped", Json::object()},
    Variant{"MultiHead", {{"num_key_value_heads", 4}}},
    Variant{"MultiQuery", {{"num_key_value_heads", 1}}},
    Variant{"SevenHeads",
            {{"hidden_size", 112},
             {"num_attention_heads", 7},
             {"num_key_value_heads", 1}}},
    Variant{"ExplicitHeadDim", {{"head_dim", 24}}},
    Variant{"Biases", {{"attention_bias", true}, {"mlp_bias", true}}},
    Variant{"Tied", {{"tie_word_embeddings", true}}},
    Variant{"Traditional", {{"rope_traditional", true}}},
    Variant{"Mistral", {{"model_type", "mistral"}, {"sliding_window", 3}}},
    Variant{"Qwen2",
            {{"model_type", "qwen2"},
             {"use_sliding_window", true},
             {"sliding_window", 2},
             {"max_window_layers", 1}}},
    Variant{"Qwen3", {{"model_type", "qwen3"}, {"head_dim", 16}}},
    Variant{"Yarn",
            {{"rope_scaling",
              {{"type", "yarn"},
               {"factor", 4},
               {"original_max_position_embeddings", 16}}}}},
    Variant{"DynamicWithinTheContext",
            {{"max_position_embeddings", 8},
             {"rope_scaling", {{"type", "dynamic"}, {"factor", 2}}}}}};

// Experts that take turns, one with no rows at times; all at once; and layers
// with one mlp between.
inline const std::vector<Variant> kExpertVariants = {
    Variant{"Mixtral",
            {{"model_type", "mixtral"},
             {"num_local_experts", 5},
             {"num_experts_per_tok", 2}}},
    Variant{"MixtralAtOnce",
            {{"model_type", "mixtral"},
             {"num_local_experts", 3},
             {"num_experts_per_tok", 3},
             {"sliding_window", 3}}},
    Variant{"Qwen3Moe",
            {{"model_type", "qwen3_moe"},
             {"num_hidden_layers", 3},
             {"moe_intermediate_size", 96},
             {"num_experts", 12},
             {"num_experts_per_tok", 3},
             {"mlp_only_layers", {1}}}}};

inline mx::array to_array(std::span<const std::int32_t> ids) {
  return mx::array(ids.begin(), {static_cast<int>(ids.size())}, mx::int32);
}

/// Logits [N, V] of one sequence, computed in one go.
inline mx::array logits_at_once(const Decoder& decoder,
                                std::span<const std::int32_t> ids) {
  const auto cache = decoder.make_cache(static_cast<int>(ids.size()));
  const Rows rows = {{cache.get(), static_cast<int>(ids.size())}};
  return decoder.logits(decoder.forward(to_array(ids), rows));
}

}  // namespace llamlx::testing
