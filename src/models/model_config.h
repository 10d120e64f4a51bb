#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace llamlx {

class Checkpoint;

/// How positions turn queries and keys.
/// Source: Su et al. 2021, arXiv:2104.09864; the kinds of scaling are those of
/// transformers' modeling_rope_utils.
struct RopeConfig {
  enum class Scaling { none, linear, llama3 };

  float theta = 10000;
  /// False: element i pairs with i + head_dim / 2 (Hugging Face's layout);
  /// true: neighbours pair (Meta's).
  bool traditional = false;
  Scaling scaling = Scaling::none;
  float factor = 1;
  float low_freq_factor = 1;                    // llama3
  float high_freq_factor = 4;                   // llama3
  int original_max_position_embeddings = 8192;  // llama3
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
  RopeConfig rope = {};
};

/// Reads the config of `checkpoint` by the rules of its model_type, and settles
/// from the tensors present what the config leaves open (tied embeddings,
/// biases).
/// Errors: Error: unsupported for a model_type or an option that is not known
/// (nothing is ignored silently), corrupt_file for values that make no sense.
ModelConfig read_model_config(const Checkpoint& checkpoint);

/// Reads what all Llama-like families share. For use by the families' own
/// readers (models/registry.h). `subject` names the file in errors.
ModelConfig read_common_config(const Json& config, std::string_view subject);

/// Reads "rope_parameters" (transformers 5), "rope_theta" and "rope_scaling".
RopeConfig read_rope_config(const Json& config, std::string_view subject);

}  // namespace llamlx
