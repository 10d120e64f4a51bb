#include "checkpoint/meta_config.h"

#include <array>
#include <optional>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

/// Keys that mean something to Meta's code alone.
constexpr std::array kDropped = {"multiple_of",         "ffn_dim_multiplier",
                                 "max_batch_size",      "max_seq_len",
                                 "rope_scaling_factor", "rope_high_freq_factor",
                                 "use_scaled_rope"};

/// Keys that Hugging Face has another word for.
constexpr std::array<std::array<const char*, 2>, 5> kRenamed = {{
    {"dim", "hidden_size"},
    {"n_layers", "num_hidden_layers"},
    {"n_heads", "num_attention_heads"},
    {"n_kv_heads", "num_key_value_heads"},
    {"norm_eps", "rms_norm_eps"},
}};

bool is_said(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && !found->is_null();
}

/// The rows of a tensor that tells what the params leave open.
int rows_of(const TensorSet& tensors, std::string_view name,
            std::string_view subject, const char* key) {
  const auto* found = find(tensors, name);
  if (found != nullptr && !found->tensor->shape.empty()) {
    return found->tensor->shape.front();
  }
  fail(ErrorCode::mismatch, subject,
       concat("does not say \"", key, "\", and there is no tensor ", name,
              " to tell"),
       "take config and weights from one source");
}

void add_sizes(Json& config, const Json& params, const TensorSet& tensors,
               std::string_view subject) {
  config["intermediate_size"] =
      is_said(params, "hidden_dim")
          ? params["hidden_dim"]
          : Json(rows_of(tensors, "model.layers.0.mlp.gate_proj.weight",
                         subject, "hidden_dim"));
  config.erase("hidden_dim");
  const auto vocab_size = json_get<int>(params, "vocab_size", subject);
  if (vocab_size.value_or(-1) < 0) {
    config["vocab_size"] =
        rows_of(tensors, "model.embed_tokens.weight", subject, "vocab_size");
  }
}

/// Llama 3.2 was given another factor than 3.1, and its params do not say so.
double default_rope_factor(const Json& params, std::string_view subject) {
  const auto dim = json_get<int>(params, "dim", subject);
  const auto layers = json_get<int>(params, "n_layers", subject);
  const bool is_1b = dim == 2048 && layers == 16;
  const bool is_3b = dim == 3072 && layers == 28;
  return is_1b || is_3b ? 32 : 8;
}

void add_rope(Json& config, const Json& params, std::string_view subject) {
  if (!is_said(params, "rope_theta")) config["rope_theta"] = 10000.0;
  if (!is_said(params, "rope_traditional")) config["rope_traditional"] = true;
  if (!json_get<bool>(params, "use_scaled_rope", subject).value_or(false)) {
    return;
  }
  const auto factor = json_get<double>(params, "rope_scaling_factor", subject);
  const auto high = json_get<double>(params, "rope_high_freq_factor", subject);
  config["rope_scaling"] = {
      {"rope_type", "llama3"},
      {"factor", factor.value_or(default_rope_factor(params, subject))},
      {"low_freq_factor", 1.0},
      {"high_freq_factor", high.value_or(4)},
      {"original_max_position_embeddings", 8192}};
}

void refuse_what_is_not_run(const Json& params, std::string_view subject) {
  for (const char* key : {"moe", "moe_args", "num_experts"}) {
    if (!is_said(params, key)) continue;
    fail(ErrorCode::unsupported, subject,
         concat("the model is a mixture of experts (\"", key, "\")"),
         "dense models can be read");
  }
  for (const char* key : {"yarn", "llama_4_scaling"}) {
    if (!is_said(params, key)) continue;
    fail(ErrorCode::unsupported, subject,
         concat("positions are scaled by \"", key, '"'),
         "give the model in Hugging Face's layout");
  }
}

}  // namespace

bool is_meta_config(const Json& config) {
  return is_said(config, "dim") && !is_said(config, "hidden_size");
}

Json hugging_face_config(const Json& params, const TensorSet& tensors,
                         std::string_view subject) {
  refuse_what_is_not_run(params, subject);
  Json config = params;
  for (const char* key : kDropped) config.erase(key);
  for (const auto& [meta, hugging_face] : kRenamed) {
    config.erase(meta);
    if (is_said(params, meta)) config[hugging_face] = params[meta];
  }
  if (!is_said(params, "norm_eps")) config["rms_norm_eps"] = 1e-5;
  add_sizes(config, params, tensors, subject);
  add_rope(config, params, subject);
  if (!is_said(params, "model_type")) {
    const bool is_mistral = is_said(params, "sliding_window");
    config["model_type"] = is_mistral ? "mistral" : "llama";
  }
  if (!is_said(config, "hidden_act")) config["hidden_act"] = "silu";
  return config;
}

}  // namespace llamlx
