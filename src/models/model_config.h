#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace llamlx {

class Checkpoint;

/// How positions turn queries and keys.
/// Source: Su et al. 2021, arXiv:2104.09864; Peng et al. 2023, "YaRN",
/// arXiv:2309.00071; the kinds of scaling are those of transformers'
/// modeling_rope_utils.
struct RopeConfig {
  enum class Scaling { none, linear, dynamic, llama3, yarn };

  float theta = 10000;
  /// False: element i pairs with i + head_dim / 2 (Hugging Face's layout);
  /// true: neighbours pair (Meta's).
  bool traditional = false;
  Scaling scaling = Scaling::none;
  float factor = 1;
  /// The context before scaling: "original_max_position_embeddings" for llama3
  /// and yarn, "max_position_embeddings" for dynamic.
  int original_context = 8192;
  float low_freq_factor = 1;   // llama3
  float high_freq_factor = 4;  // llama3
  float beta_fast = 32;        // yarn
  float beta_slow = 1;         // yarn
  bool truncate = true;        // yarn
  /// Multiplies turned queries and keys (yarn); inferred where not given.
  float attention_factor = 1;
};

/// Its name in config.json: "default", "linear", ...
std::string_view to_string(RopeConfig::Scaling scaling);

/// Layers that have experts in place of one mlp: a router picks some of them
/// for every row.
struct MoeConfig {
  std::vector<bool> layers = {};  ///< which; empty: none
  std::string module = {};        ///< of a layer: "mlp", "block_sparse_moe"
  int num_experts = 0;
  int num_experts_per_tok = 0;
  int intermediate_size = 0;  ///< of one expert
  /// The shares of a row's experts add up to 1; else they are what the router
  /// gives them among all experts.
  bool norm_topk_prob = false;
};

/// What a decoder-only transformer of the Llama kind is made of. The names are
/// those of Hugging Face's config.json.
struct ModelConfig {
  std::string model_type;
  int hidden_size = 0;
  int intermediate_size = 0;
  int num_hidden_layers = 0;
  int num_attention_heads = 0;
  int num_key_value_heads = 0;
  int head_dim = 0;
  int vocab_size = 0;
  int max_position_embeddings = 0;  ///< 0: not said
  float rms_norm_eps = 1e-6f;
  bool tie_word_embeddings = false;
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;  ///< queries and keys are normed, head by head
  RopeConfig rope = {};
  /// How many positions a row of each layer sees, its own included; 0: all.
  std::vector<int> layer_windows = {};
  MoeConfig moe = {};

  /// Whether any layer is a mixture of experts.
  bool has_experts() const { return std::ranges::count(moe.layers, true) > 0; }

  /// Whether layer `layer` is one.
  bool has_experts(int layer) const {
    return !moe.layers.empty() && moe.layers[static_cast<std::size_t>(layer)];
  }

  /// The number of tokens the model is made for; 0: not said. Scaling by
  /// "linear", "dynamic" and "yarn" stretches what the config says of the
  /// context, unless it speaks of the stretched one already (yarn's may).
  int context_length() const;
};

/// Reads the config of `checkpoint` by the rules of its model_type, and settles
/// from the tensors present what the config leaves open (tied embeddings,
/// biases).
/// Errors: Error: unsupported for a model_type or an option that is not known
/// (nothing is ignored silently), corrupt_file for values that make no sense.
ModelConfig read_model_config(const Checkpoint& checkpoint);

/// Reads what all Llama-like families share; all layers see all positions. For
/// use by the families' own readers (models/registry.h), as are the next three.
/// `default_head_dim` is what an absent "head_dim" means; else the hidden size
/// is split among the heads.
ModelConfig read_common_config(const Checkpoint& checkpoint,
                               std::optional<int> default_head_dim = {});

/// What the config says as `key`, or else whether `tensor` is there.
bool read_bias(const Checkpoint& checkpoint, const char* key,
               const char* tensor);

/// Reads "attention_bias", which speaks of all four projections; where it is
/// left open, the queries' and the output's biases may differ.
void read_attention_bias(const Checkpoint& checkpoint, ModelConfig& result);

/// Errors: Error (unsupported) when one of `keys` is true.
void refuse_biases(const Checkpoint& checkpoint,
                   std::initializer_list<const char*> keys);

/// Reads what layers of experts share, for all layers: the number of experts as
/// `count_key`, and "num_experts_per_tok"; absent keys are as `otherwise` has
/// them. The experts' intermediate_size must be set in `otherwise`.
/// Errors: Error (corrupt_file) for experts a row that are not among the
/// experts, and for sizes whose product is absurd.
MoeConfig read_moe_config(const Json& config, std::string_view subject,
                          const char* count_key, const ModelConfig& model,
                          MoeConfig otherwise);

/// Reads "rope_parameters" (transformers 5), "rope_theta" and "rope_scaling".
/// `default_theta` is what an absent theta means.
RopeConfig read_rope_config(const Json& config, std::string_view subject,
                            float default_theta = 10000);

}  // namespace llamlx
