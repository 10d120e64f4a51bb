#include "convert/converted_config.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>

namespace llamlx {
namespace {

/// The key whose elements are the most.
template <typename Key>
Key most(const std::map<Key, std::int64_t>& counts) {
  return std::ranges::max_element(counts, {},
                                  [](const auto& row) { return row.second; })
      ->first;
}

std::string written_dtype(const std::vector<PlannedWeight>& weights) {
  std::map<std::string, std::int64_t> counts;
  for (const auto& weight : weights) {
    counts[to_string(weight.dtype)] += element_count(weight.source.shape);
  }
  return most(counts);
}

bool is_open(const Json& config, const char* key) {
  return !config.contains(key) || config[key].is_null();
}

/// mlx_lm's models look for the older keys alone, and take a theta of 10000
/// without them.
void spell_rope_both_ways(Json& config, const ModelConfig& model) {
  if (is_open(config, "rope_parameters")) return;
  const Json rope = config["rope_parameters"];
  if (is_open(config, "rope_theta") && !is_open(rope, "rope_theta")) {
    config["rope_theta"] = rope["rope_theta"];
  }
  const bool scaled = model.rope.scaling != RopeConfig::Scaling::none;
  if (scaled && is_open(config, "rope_scaling")) {
    config["rope_scaling"] = rope;
  }
}

/// Readers differ in what they take for a context that scaling does not tell.
void state_original_context(Json& config, const ModelConfig& model) {
  constexpr const char* kKey = "original_max_position_embeddings";
  const auto scaling = model.rope.scaling;
  if (scaling != RopeConfig::Scaling::llama3 &&
      scaling != RopeConfig::Scaling::yarn) {
    return;
  }
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (is_open(config, key)) continue;
    config[key][kKey] = model.rope.original_context;
  }
}

/// Writes down what was settled from the tensors present, and a width of heads
/// that is the family's own default.
void settle(Json& config, const ModelConfig& model) {
  const int share = model.hidden_size / model.num_attention_heads;
  if (is_open(config, "head_dim") && model.head_dim != share) {
    config["head_dim"] = model.head_dim;
  }
  config["tie_word_embeddings"] = model.tie_word_embeddings;
  // The key speaks of all four projections; if they differ it stays open.
  if (is_open(config, "attention_bias") && model.qkv_bias == model.o_bias) {
    config["attention_bias"] = model.qkv_bias;
  }
  if (is_open(config, "mlp_bias")) config["mlp_bias"] = model.mlp_bias;
}

/// Writes down what a mixture of experts leaves open: mlx_lm wants each of
/// these, and does not know transformers 5's spelling.
void settle_experts(Json& config, const ModelConfig& model) {
  const auto& moe = model.moe;
  if (moe.layers.empty()) return;
  config["num_experts_per_tok"] = moe.num_experts_per_tok;
  if (model.model_type == "mixtral") {
    config["num_local_experts"] = moe.num_experts;
    return;
  }
  config["num_experts"] = moe.num_experts;
  config["moe_intermediate_size"] = moe.intermediate_size;
  config["norm_topk_prob"] = moe.norm_topk_prob;
  if (is_open(config, "decoder_sparse_step")) config["decoder_sparse_step"] = 1;
  if (is_open(config, "mlp_only_layers")) {
    config["mlp_only_layers"] = Json::array();
  }
}

/// A module's entry: without its mode where that is what readers take it for.
Json to_json(const Quantization& quantization) {
  Json entry = {{"bits", quantization.bits},
                {"group_size", quantization.group_size}};
  if (!quantization.is_affine()) entry["mode"] = to_string(quantization.mode);
  return entry;
}

}  // namespace

Json quantization_of(const std::vector<PlannedWeight>& weights) {
  std::map<std::tuple<int, int, QuantizationMode>, std::int64_t> counts;
  for (const auto& weight : weights) {
    if (const auto& q = weight.quantization) {
      counts[{q->bits, q->group_size, q->mode}] +=
          element_count(weight.source.shape);
    }
  }
  if (counts.empty()) return nullptr;
  const auto [bits, group_size, mode] = most(counts);
  const Quantization main = {bits, group_size, mode};
  Json result = to_json(main);
  result["mode"] = to_string(main.mode);
  for (const auto& weight : weights) {
    const auto& q = weight.quantization;
    if (!q || *q == main) continue;
    const auto& name = weight.source.name;
    result[name.substr(0, name.rfind('.'))] = to_json(*q);
  }
  return result;
}

Json converted_config(const Json& source, const ModelConfig& model,
                      const std::vector<PlannedWeight>& weights) {
  Json config = source;
  for (const char* key :
       {"quantization", "quantization_config", "_name_or_path"}) {
    config.erase(key);
  }
  const auto quantization = quantization_of(weights);
  if (!quantization.is_null()) {
    config["quantization"] = quantization;
    config["quantization_config"] = quantization;
  }
  if (std::ranges::any_of(weights, &PlannedWeight::is_reordered)) {
    config.erase("rope_traditional");
  }
  const auto dtype = written_dtype(weights);
  config["torch_dtype"] = dtype;
  if (config.contains("dtype")) config["dtype"] = dtype;
  spell_rope_both_ways(config, model);
  state_original_context(config, model);
  settle(config, model);
  settle_experts(config, model);
  return config;
}

}  // namespace llamlx
