#include "convert/seed_config.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "checkpoint/meta_names.h"
#include "convert/converted_config.h"

namespace llamlx {
namespace {

/// Keys of Hugging Face's that are told in other words, or that describe the
/// file they stood in.
constexpr std::array<std::string_view, 21> kToldOtherwise = {
    "hidden_size",         "intermediate_size",
    "num_attention_heads", "num_key_value_heads",
    "num_hidden_layers",   "vocab_size",
    "rms_norm_eps",        "rope_theta",
    "rope_traditional",    "head_dim",
    "model_type",          "quantization",
    "quantization_config", "_name_or_path",
    "architectures",       "dtype",
    "torch_dtype",         "transformers_version",
    "use_cache",           "hidden_act",
    "tie_word_embeddings",
};

OrderedJson translated(const Json& source, const ModelConfig& model) {
  OrderedJson config;
  config["dim"] = model.hidden_size;
  config["hidden_dim"] = model.intermediate_size;
  config["n_heads"] = model.num_attention_heads;
  config["n_kv_heads"] = model.num_key_value_heads;
  config["n_layers"] = model.num_hidden_layers;
  config["vocab_size"] = model.vocab_size;
  config["norm_eps"] = source.value("rms_norm_eps", Json(1e-6)).get<double>();
  config["rope_traditional"] = model.rope.traditional;
  if (model.rope.theta != RopeConfig{}.theta) {
    config["rope_theta"] = double{model.rope.theta};
  }
  // What an absent head_dim means depends on the family; llama.py splits the
  // width.
  const bool is_split =
      model.head_dim * model.num_attention_heads == model.hidden_size;
  const bool is_known = is_known_to_llama_py(model);
  if (!is_split || !is_known) config["head_dim"] = model.head_dim;
  if (is_known) return config;
  for (const auto& [key, value] : source.items()) {
    if (std::ranges::count(kToldOtherwise, key) == 0) config[key] = value;
  }
  return config;
}

}  // namespace

bool is_known_to_llama_py(const ModelConfig& model) {
  const bool has_more =
      model.qkv_bias || model.o_bias || model.mlp_bias || model.qk_norm;
  return !has_more && model.rope.scaling == RopeConfig::Scaling::none &&
         std::ranges::all_of(model.layer_windows,
                             [](int window) { return window == 0; });
}

OrderedJson seed_config(const Checkpoint& checkpoint, const ModelConfig& model,
                        const std::vector<PlannedWeight>& weights) {
  const auto& params = checkpoint.params();
  auto config = params ? *params : translated(checkpoint.config(), model);
  config.erase("quantization");
  config["model_type"] = model.model_type;
  const auto quantization = quantization_of(weights);
  if (quantization.is_null()) return config;
  auto& settings = config["quantization"];
  settings["group_size"] = quantization["group_size"];
  settings["bits"] = quantization["bits"];
  const auto& mode = quantization["mode"];
  if (mode != "affine") settings["mode"] = mode;
  for (const auto& [module, value] : quantization.items()) {
    const auto name = meta_name(module + ".weight");
    if (name) settings[name->substr(0, name->rfind('.'))] = value;
  }
  return config;
}

}  // namespace llamlx
