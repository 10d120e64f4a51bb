#include "models/model_config.h"

#include <cmath>
#include <cstdint>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "models/registry.h"

namespace llamlx {
namespace {

// Far above every model there is; anything larger is damage, and would overflow
// the products of shapes below.
constexpr int kLargestSize = 1 << 24;
constexpr int kMostLayers = 1 << 12;

[[noreturn]] void fail_value(std::string_view subject, std::string_view cause) {
  fail(ErrorCode::corrupt_file, subject, cause,
       "correct the file or download it again");
}

int check_size(int value, const char* key, std::string_view subject,
               int largest = kLargestSize) {
  if (value >= 1 && value <= largest) return value;
  fail_value(subject, concat('"', key, "\" is ", value));
}

int required_size(const Json& config, const char* key, std::string_view subject,
                  int largest = kLargestSize) {
  const auto value = json_get<int>(config, key, subject);
  if (!value) fail_value(subject, concat('"', key, "\" is missing"));
  return check_size(*value, key, subject, largest);
}

int optional_size(const Json& config, const char* key, std::string_view subject,
                  int otherwise) {
  const auto value = json_get<int>(config, key, subject);
  return value ? check_size(*value, key, subject) : otherwise;
}

float positive_number(const Json& config, const char* key,
                      std::string_view subject, double otherwise) {
  const auto value = json_get<double>(config, key, subject).value_or(otherwise);
  if (value > 0 && std::isfinite(value)) return static_cast<float>(value);
  fail_value(subject, concat('"', key, "\" is ", value));
}

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
  const auto rows =
      static_cast<std::int64_t>(c.num_attention_heads) * c.head_dim;
  if (rows > kLargestSize) {
    fail_value(subject, concat("the attention heads hold ", rows, " values"));
  }
}

int head_dim_of(const Json& config, const ModelConfig& c,
                std::string_view subject) {
  if (const auto value = json_get<int>(config, "head_dim", subject)) {
    return check_size(*value, "head_dim", subject);
  }
  if (c.hidden_size % c.num_attention_heads != 0) {
    fail_value(subject,
               concat("hidden_size ", c.hidden_size, " is not a multiple of ",
                      c.num_attention_heads, " attention heads"));
  }
  return c.hidden_size / c.num_attention_heads;
}

/// The object that describes scaling, or null: transformers 5 writes
/// "rope_parameters" (with the theta inside), older ones "rope_scaling".
const Json* rope_object(const Json& config, std::string_view subject) {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) continue;
    if (!found->is_object()) {
      fail_value(subject, concat('"', key, "\" is not an object"));
    }
    return &*found;
  }
  return nullptr;
}

void read_llama3_scaling(const Json& config, const Json& object,
                         std::string_view subject, RopeConfig& rope) {
  rope.scaling = RopeConfig::Scaling::llama3;
  rope.low_freq_factor = positive_number(object, "low_freq_factor", subject, 1);
  rope.high_freq_factor =
      positive_number(object, "high_freq_factor", subject, 4);
  const int context =
      optional_size(config, "max_position_embeddings", subject, 8192);
  rope.original_max_position_embeddings = optional_size(
      object, "original_max_position_embeddings", subject, context);
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    fail_value(subject, "high_freq_factor does not exceed low_freq_factor");
  }
}

void resolve_open_questions(const Checkpoint& checkpoint, const Json& config,
                            ModelConfig& result) {
  const auto open = [&](const char* key) {
    return !config.contains(key) || config[key].is_null();
  };
  const auto present = [&](const char* name) {
    return checkpoint.find(name) != nullptr;
  };
  if (open("tie_word_embeddings")) {
    result.tie_word_embeddings = !present("lm_head.weight");
  }
  if (open("attention_bias")) {
    result.qkv_bias = present("model.layers.0.self_attn.q_proj.bias");
    result.o_bias = present("model.layers.0.self_attn.o_proj.bias");
  }
  if (open("mlp_bias")) {
    result.mlp_bias = present("model.layers.0.mlp.gate_proj.bias");
  }
}

}  // namespace

RopeConfig read_rope_config(const Json& config, std::string_view subject) {
  RopeConfig rope;
  rope.theta = positive_number(config, "rope_theta", subject, 10000);
  rope.traditional =
      json_get<bool>(config, "rope_traditional", subject).value_or(false);
  const Json* object = rope_object(config, subject);
  if (object == nullptr) return rope;
  rope.theta = positive_number(*object, "rope_theta", subject, rope.theta);
  auto kind = json_get<std::string>(*object, "rope_type", subject);
  if (!kind) kind = json_get<std::string>(*object, "type", subject);
  if (!kind || *kind == "default") return rope;
  rope.factor = positive_number(*object, "factor", subject, 1);
  if (*kind == "linear") {
    rope.scaling = RopeConfig::Scaling::linear;
  } else if (*kind == "llama3") {
    read_llama3_scaling(config, *object, subject, rope);
  } else {
    fail(ErrorCode::unsupported, subject,
         concat("rotary positions are scaled by \"", *kind, '"'),
         "the kinds \"default\", \"linear\" and \"llama3\" can be run");
  }
  return rope;
}

ModelConfig read_common_config(const Json& config, std::string_view subject) {
  ModelConfig c;
  c.hidden_size = required_size(config, "hidden_size", subject);
  c.intermediate_size = required_size(config, "intermediate_size", subject);
  c.num_hidden_layers =
      required_size(config, "num_hidden_layers", subject, kMostLayers);
  c.num_attention_heads = required_size(config, "num_attention_heads", subject);
  c.num_key_value_heads = optional_size(config, "num_key_value_heads", subject,
                                        c.num_attention_heads);
  c.head_dim = head_dim_of(config, c, subject);
  c.vocab_size = required_size(config, "vocab_size", subject);
  c.max_position_embeddings =
      optional_size(config, "max_position_embeddings", subject, 0);
  c.rms_norm_eps = positive_number(config, "rms_norm_eps", subject, 1e-6);
  c.tie_word_embeddings =
      json_get<bool>(config, "tie_word_embeddings", subject).value_or(false);
  c.rope = read_rope_config(config, subject);
  check_heads(c, subject);
  return c;
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
    fail(ErrorCode::unsupported, subject,
         concat("the model is a \"", *model_type, '"'),
         concat("these can be run: ", known));
  }
  auto result = family->read_config(config, subject);
  result.model_type = *model_type;
  resolve_open_questions(checkpoint, config, result);
  return result;
}

}  // namespace llamlx
