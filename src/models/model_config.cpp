#include "models/model_config.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "models/config_values.h"
#include "models/registry.h"

namespace llamlx {
namespace {

constexpr int kMostLayers = 1 << 12;
constexpr double kLongestContext = 1 << 30;

void check_heads(const ModelConfig& c, std::string_view subject) {
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    fail_value(subject,
               concat(c.num_attention_heads, " attention heads cannot share ",
                      c.num_key_value_heads, " key/value heads"));
  }
  if (c.head_dim % 2 != 0) {
    fail_value(subject, concat("head_dim is ", c.head_dim,
                               ", but rotary positions need it even"));
  }
  // The exponent of the dynamic base is head_dim / (head_dim - 2).
  if (c.rope.scaling == RopeConfig::Scaling::dynamic && c.head_dim == 2) {
    fail_value(subject, "head_dim is 2, but dynamic positions need more");
  }
  const auto rows =
      static_cast<std::int64_t>(c.num_attention_heads) * c.head_dim;
  if (rows > kLargestConfigSize) {
    fail_value(subject, concat("the attention heads hold ", rows, " values"));
  }
}

int head_dim_of(const Json& config, const ModelConfig& c,
                std::optional<int> otherwise, std::string_view subject) {
  if (const int size = optional_size(config, "head_dim", subject, 0)) {
    return size;
  }
  if (otherwise) return *otherwise;
  if (c.hidden_size % c.num_attention_heads != 0) {
    fail_value(subject,
               concat("hidden_size ", c.hidden_size, " is not a multiple of ",
                      c.num_attention_heads, " attention heads"));
  }
  return c.hidden_size / c.num_attention_heads;
}

void check_activation(const Json& config, std::string_view subject) {
  const auto act = json_get<std::string>(config, "hidden_act", subject);
  if (act && *act != "silu" && *act != "swish") {
    fail_unsupported(subject, concat("hidden_act is \"", *act, '"'),
                     "models with SiLU can be run");
  }
}

}  // namespace

int ModelConfig::context_length() const {
  if (max_position_embeddings == 0) return 0;
  double stretched = max_position_embeddings;
  switch (rope.scaling) {
    case RopeConfig::Scaling::none:
    case RopeConfig::Scaling::llama3:
      break;
    case RopeConfig::Scaling::linear:
    case RopeConfig::Scaling::dynamic:
      stretched *= rope.factor;
      break;
    case RopeConfig::Scaling::yarn:
      stretched = double{rope.factor} * rope.original_context;
      break;
  }
  return std::max(max_position_embeddings,
                  static_cast<int>(std::min(stretched, kLongestContext)));
}

ModelConfig read_common_config(const Checkpoint& checkpoint,
                               std::optional<int> default_head_dim) {
  const auto& config = checkpoint.config();
  const auto subject = checkpoint.path().string();
  ModelConfig c;
  c.hidden_size = required_size(config, "hidden_size", subject);
  c.intermediate_size = required_size(config, "intermediate_size", subject);
  c.num_hidden_layers =
      required_size(config, "num_hidden_layers", subject, kMostLayers);
  c.num_attention_heads = required_size(config, "num_attention_heads", subject);
  c.num_key_value_heads = optional_size(config, "num_key_value_heads", subject,
                                        c.num_attention_heads);
  c.head_dim = head_dim_of(config, c, default_head_dim, subject);
  c.vocab_size = required_size(config, "vocab_size", subject);
  c.max_position_embeddings =
      optional_size(config, "max_position_embeddings", subject, 0);
  c.rms_norm_eps = positive_number(config, "rms_norm_eps", subject, 1e-6);
  c.tie_word_embeddings =
      json_get<bool>(config, "tie_word_embeddings", subject)
          .value_or(checkpoint.find("lm_head.weight") == nullptr);
  c.rope = read_rope_config(config, subject);
  c.layer_windows.assign(c.num_hidden_layers, 0);
  check_activation(config, subject);
  check_heads(c, subject);
  return c;
}

bool read_bias(const Checkpoint& checkpoint, const char* key,
               const char* tensor) {
  return json_get<bool>(checkpoint.config(), key, checkpoint.path().string())
      .value_or(checkpoint.find(tensor) != nullptr);
}

void read_attention_bias(const Checkpoint& checkpoint, ModelConfig& result) {
  result.qkv_bias = read_bias(checkpoint, "attention_bias",
                              "model.layers.0.self_attn.q_proj.bias");
  result.o_bias = read_bias(checkpoint, "attention_bias",
                            "model.layers.0.self_attn.o_proj.bias");
}

void refuse_biases(const Checkpoint& checkpoint,
                   std::initializer_list<const char*> keys) {
  const auto subject = checkpoint.path().string();
  for (const char* key : keys) {
    if (!json_get<bool>(checkpoint.config(), key, subject).value_or(false)) {
      continue;
    }
    fail_unsupported(subject, concat('"', key, "\" is true"),
                     "models of this type have no such biases; correct "
                     "config.json");
  }
}

MoeConfig read_moe_config(const Json& config, std::string_view subject,
                          const char* count_key, const ModelConfig& model,
                          MoeConfig otherwise) {
  constexpr const char* kUsedKey = "num_experts_per_tok";
  auto moe = std::move(otherwise);
  moe.layers.assign(static_cast<std::size_t>(model.num_hidden_layers), true);
  moe.num_experts = optional_size(config, count_key, subject, moe.num_experts);
  moe.num_experts_per_tok =
      optional_size(config, kUsedKey, subject, moe.num_experts_per_tok);
  if (moe.num_experts_per_tok > moe.num_experts) {
    fail_value(subject, concat('"', kUsedKey, "\" is ", moe.num_experts_per_tok,
                               ", of ", moe.num_experts, " experts"));
  }
  const auto rows = std::int64_t{moe.num_experts} *
                    std::max(moe.intermediate_size, model.hidden_size);
  if (rows > kLargestConfigSize) {
    fail_value(subject, concat(moe.num_experts, " experts hold ", rows,
                               " rows of weights"));
  }
  return moe;
}

ModelConfig read_model_config(const Checkpoint& checkpoint) {
  const auto subject = checkpoint.path().string();
  const auto& config = checkpoint.config();
  const auto model_type = json_get<std::string>(config, "model_type", subject);
  if (!model_type) fail_value(subject, "the config has no \"model_type\"");
  const auto* family = find_family(*model_type);
  if (family == nullptr) {
    std::string known;
    for (const auto& row : model_families()) {
      known += concat(known.empty() ? "" : ", ", row.model_type);
    }
    fail_unsupported(subject, concat("the model is a \"", *model_type, '"'),
                     concat("these can be run: ", known));
  }
  auto result = family->read_config(checkpoint);
  result.model_type = *model_type;
  return result;
}

}  // namespace llamlx
