#include "models/tensor_spec.h"

#include <set>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

/// Collects specs under a common prefix.
struct SpecTable {
  std::vector<TensorSpec> specs = {};

  void norm(const std::string& module, int size) {
    specs.push_back({module + ".weight", {size}});
  }

  void linear(const std::string& module, int out, int in, bool bias) {
    specs.push_back({module + ".weight", {out, in}, true});
    if (bias) specs.push_back({module + ".bias", {out}});
  }
};

void add_experts(SpecTable& table, const ModelConfig& c,
                 const std::string& layer) {
  const auto& moe = c.moe;
  const auto module = concat(layer, moe.module, ".");
  // Small, and what it decides is all or nothing: it is not quantised.
  table.specs.push_back(
      {module + "gate.weight", {moe.num_experts, c.hidden_size}});
  const mx::Shape in = {moe.num_experts, moe.intermediate_size, c.hidden_size};
  const mx::Shape out = {moe.num_experts, c.hidden_size, moe.intermediate_size};
  table.specs.push_back({module + "switch_mlp.gate_proj.weight", in, true});
  table.specs.push_back({module + "switch_mlp.up_proj.weight", in, true});
  table.specs.push_back({module + "switch_mlp.down_proj.weight", out, true});
}

void add_layer(SpecTable& table, const ModelConfig& c, int layer) {
  const auto prefix = concat("model.layers.", layer, ".");
  const int hidden = c.hidden_size;
  const int q_size = c.num_attention_heads * c.head_dim;
  const int kv_size = c.num_key_value_heads * c.head_dim;
  table.norm(prefix + "input_layernorm", hidden);
  table.linear(prefix + "self_attn.q_proj", q_size, hidden, c.qkv_bias);
  table.linear(prefix + "self_attn.k_proj", kv_size, hidden, c.qkv_bias);
  table.linear(prefix + "self_attn.v_proj", kv_size, hidden, c.qkv_bias);
  if (c.qk_norm) {
    table.norm(prefix + "self_attn.q_norm", c.head_dim);
    table.norm(prefix + "self_attn.k_norm", c.head_dim);
  }
  table.linear(prefix + "self_attn.o_proj", hidden, q_size, c.o_bias);
  table.norm(prefix + "post_attention_layernorm", hidden);
  if (c.has_experts(layer)) return add_experts(table, c, prefix);
  const int inner = c.intermediate_size;
  table.linear(prefix + "mlp.gate_proj", inner, hidden, c.mlp_bias);
  table.linear(prefix + "mlp.up_proj", inner, hidden, c.mlp_bias);
  table.linear(prefix + "mlp.down_proj", hidden, inner, c.mlp_bias);
}

void check_shape(const TensorSpec& spec, const Checkpoint& checkpoint) {
  const auto* info = checkpoint.find(spec.name);
  if (info == nullptr) {
    fail(ErrorCode::mismatch, checkpoint.path().string(),
         concat("tensor ", spec.name, " is missing"),
         "the weights do not belong to this config, or are incomplete");
  }
  if (info->shape != spec.shape) {
    fail(ErrorCode::mismatch, checkpoint.path().string(),
         concat("tensor ", spec.name, " should have shape ",
                to_string(spec.shape), " by the config, got ",
                to_string(info->shape)),
         "the weights do not belong to this config");
  }
}

}  // namespace

std::vector<TensorSpec> tensor_specs(const ModelConfig& config) {
  SpecTable table;
  table.linear("model.embed_tokens", config.vocab_size, config.hidden_size,
               false);
  for (int layer = 0; layer < config.num_hidden_layers; ++layer) {
    add_layer(table, config, layer);
  }
  table.norm("model.norm", config.hidden_size);
  if (!config.tie_word_embeddings) {
    table.linear("lm_head", config.vocab_size, config.hidden_size, false);
  }
  return std::move(table.specs);
}

void verify_tensors(const ModelConfig& config, const Checkpoint& checkpoint) {
  std::set<std::string_view> expected;
  const auto specs = tensor_specs(config);
  for (const auto& spec : specs) {
    check_shape(spec, checkpoint);
    expected.insert(spec.name);
  }
  if (config.tie_word_embeddings) expected.insert("lm_head.weight");
  for (const auto& info : checkpoint.weights()) {
    if (expected.contains(info.name)) continue;
    fail(ErrorCode::mismatch, checkpoint.path().string(),
         concat("tensor ", info.name, " has no place in a ", config.model_type,
                " model with this config"),
         "check config.json, or the layers and biases it declares");
  }
}

}  // namespace llamlx
