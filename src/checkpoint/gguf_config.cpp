#include "checkpoint/gguf_config.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/gguf_rope.h"
#include "checkpoint/gguf_special_tokens.h"

namespace llamlx {
namespace {

constexpr const char* kRemedy =
    "convert the model again with a current llama.cpp";

/// The metadata of one architecture: keys are "<architecture>.<key>".
class Metadata {
 public:
  Metadata(const GgufFile& file, const GgufFamily& family)
      : file_(file), prefix_(concat(family.architecture, ".")) {}

  std::string key(std::string_view name) const { return concat(prefix_, name); }

  /// A positive size; an array must say the same of every layer.
  std::optional<std::int32_t> size(std::string_view name) const {
    const auto* value = file_.find_value(key(name));
    if (value == nullptr) return {};
    if (value->type != GgufValueType::array) {
      return check(name, *file_.get<std::int64_t>(key(name)));
    }
    const auto sizes = *file_.get<std::vector<std::int64_t>>(key(name));
    if (sizes.empty() || std::ranges::count(sizes, sizes.front()) !=
                             static_cast<std::ptrdiff_t>(sizes.size())) {
      fail(ErrorCode::unsupported, file_.path().string(),
           concat("its layers differ in ", key(name)),
           "models whose layers are alike can be run");
    }
    return check(name, sizes.front());
  }

  std::int32_t required_size(std::string_view name) const {
    if (const auto value = size(name)) return *value;
    // Says that it is missing.
    return check(name, file_.require<std::int64_t>(key(name)));
  }

  const GgufFile& file() const { return file_; }

 private:
  std::int32_t check(std::string_view name, std::int64_t value) const {
    if (value >= 1 && value <= std::numeric_limits<std::int32_t>::max()) {
      return static_cast<std::int32_t>(value);
    }
    fail(ErrorCode::corrupt_file, file_.path().string(),
         concat("the metadata value ", key(name), " is ", value), kRemedy);
  }

  const GgufFile& file_;
  std::string prefix_;
};

[[noreturn]] void fail_unsupported(const GgufFile& file,
                                   std::string_view cause) {
  fail(ErrorCode::unsupported, file.path().string(), cause,
       "take the model's safetensors instead");
}

std::int32_t read_vocab_size(const Metadata& metadata) {
  const auto& file = metadata.file();
  const auto* embeddings = file.find("token_embd.weight");
  if (embeddings == nullptr) {
    fail(ErrorCode::corrupt_file, file.path().string(),
         "has no tensor token_embd.weight", kRemedy);
  }
  const std::int32_t rows = embeddings->shape.front();
  const auto stated = metadata.size("vocab_size");
  const auto* tokens = file.find_value("tokenizer.ggml.tokens");
  const auto mismatch = [&](std::uint64_t count, std::string_view whose) {
    fail(ErrorCode::mismatch, file.path().string(),
         concat("token_embd.weight has ", rows, " rows, but ", whose, " says ",
                count),
         kRemedy);
  };
  if (stated && *stated != rows) {
    mismatch(static_cast<std::uint64_t>(*stated), metadata.key("vocab_size"));
  }
  if (tokens != nullptr && tokens->count > static_cast<std::uint64_t>(rows)) {
    mismatch(tokens->count, "tokenizer.ggml.tokens");
  }
  return rows;
}

std::int32_t read_head_dim(const Metadata& metadata, std::int32_t hidden_size,
                           std::int32_t heads) {
  const auto keys = metadata.size("attention.key_length");
  const auto values = metadata.size("attention.value_length");
  const auto rotated = metadata.size("rope.dimension_count");
  const auto head_dim =
      keys.value_or(rotated.value_or(std::max(hidden_size / heads, 1)));
  if (values.value_or(head_dim) != head_dim) {
    fail_unsupported(
        metadata.file(),
        concat("keys have ", head_dim, " values a head, values ", *values));
  }
  if (rotated.value_or(head_dim) != head_dim) {
    fail_unsupported(metadata.file(),
                     concat("rotary positions turn ", *rotated, " of the ",
                            head_dim, " values of a head"));
  }
  return head_dim;
}

/// True or false when all or none of the modules of layer 0 have a bias; null
/// otherwise, for readers to settle by the tensors that are there.
Json has_biases(const GgufFile& file,
                std::initializer_list<const char*> modules) {
  std::size_t count = 0;
  for (const char* module : modules) {
    count += file.find(concat("blk.0.", module, ".bias")) != nullptr;
  }
  if (count != 0 && count != modules.size()) return nullptr;
  return count != 0;
}

void add_biases(Json& config, const GgufFile& file) {
  const auto attention =
      has_biases(file, {"attn_q", "attn_k", "attn_v", "attn_output"});
  if (!attention.is_null()) config["attention_bias"] = attention;
  const auto mlp = has_biases(file, {"ffn_gate", "ffn_up", "ffn_down"});
  if (!mlp.is_null()) config["mlp_bias"] = mlp;
}

/// All layers have experts, whose shares are softmaxed and add up to 1: that is
/// how llama.cpp runs these architectures, and there are no keys for it.
void add_experts(Json& config, const Metadata& metadata,
                 const GgufFamily& family) {
  const auto& file = metadata.file();
  constexpr std::int64_t kSoftmax = 1;
  const auto gating = metadata.key("expert_gating_func");
  if (file.get<std::int64_t>(gating).value_or(kSoftmax) != kSoftmax) {
    fail_unsupported(file, "its experts are chosen by other than a softmax");
  }
  if (file.get<std::int64_t>(metadata.key("expert_shared_count")).value_or(0) !=
      0) {
    fail_unsupported(file, "it has experts that all tokens share");
  }
  config[family.experts_key] = metadata.required_size("expert_count");
  config["num_experts_per_tok"] = metadata.required_size("expert_used_count");
  if (family.model_type == "mixtral") return;
  config["moe_intermediate_size"] =
      metadata.required_size("expert_feed_forward_length");
  config["norm_topk_prob"] = true;
}

void add_special_tokens(Json& config, const GgufFile& file) {
  const auto special = read_gguf_special_tokens(file);
  if (special.bos) config["bos_token_id"] = *special.bos;
  if (!special.eos_ids.empty()) config["eos_token_id"] = special.eos_json();
  if (special.pad) config["pad_token_id"] = *special.pad;
}

}  // namespace

Json make_gguf_config(const GgufFile& file, const GgufFamily& family) {
  const Metadata metadata(file, family);
  const auto window_key = metadata.key("attention.sliding_window");
  const auto* window = file.find_value(window_key);
  if (window != nullptr && (window->type == GgufValueType::array ||
                            *file.get<std::int64_t>(window_key) != 0)) {
    fail_unsupported(file, "its attention has a window, of layers not told");
  }
  Json config;
  config["architectures"] = Json::array({family.model_class});
  config["model_type"] = family.model_type;
  config["hidden_act"] = "silu";
  const auto hidden_size = metadata.required_size("embedding_length");
  const auto heads = metadata.required_size("attention.head_count");
  config["hidden_size"] = hidden_size;
  config["intermediate_size"] = metadata.required_size("feed_forward_length");
  config["num_hidden_layers"] = metadata.required_size("block_count");
  config["num_attention_heads"] = heads;
  config["num_key_value_heads"] =
      metadata.size("attention.head_count_kv").value_or(heads);
  config["head_dim"] = read_head_dim(metadata, hidden_size, heads);
  config["vocab_size"] = read_vocab_size(metadata);
  if (const auto length = metadata.size("context_length")) {
    config["max_position_embeddings"] = *length;
  }
  config["rms_norm_eps"] = read_positive_decimal(
      file, metadata.key("attention.layer_norm_rms_epsilon"));
  config["tie_word_embeddings"] = file.find("output.weight") == nullptr;
  if (family.experts_key != nullptr) add_experts(config, metadata, family);
  add_gguf_rope(config, file, family);
  add_biases(config, file);
  add_special_tokens(config, file);
  return config;
}

}  // namespace llamlx
