#include "models/weight_loader.h"

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "base/concat.h"
#include "base/error.h"
#include "kernels/held_weight.h"
#include "tensor/finite.h"

namespace llamlx {
namespace {

/// Reads parameters by name and counts their bytes.
class WeightLoader {
 public:
  WeightLoader(const Checkpoint& checkpoint, const HeldFormat& held,
               const OnLoaded& on_loaded)
      : checkpoint_(checkpoint), held_(held), on_loaded_(on_loaded) {}

  Weight weight(const std::string& name) {
    const auto* info = checkpoint_.find(name);
    if (info == nullptr) {
      fail(ErrorCode::mismatch, checkpoint_.path().string(),
           concat("tensor ", name, " is missing"), "convert the model again");
    }
    auto stored = checkpoint_.load(*info);
    if (info->shape.size() > 2) stored = join_rows(stored);
    auto result = hold(stored, held_(stored, info->format()));
    // Evaluated one by one, so that the stored values go before the next come.
    mx::eval(parts_of(result));
    nbytes_ += result.nbytes();
    if (on_loaded_) on_loaded_(*info);
    return result;
  }

  mx::array vector(const std::string& name) { return weight(name).data; }

  Linear linear(const std::string& module, bool bias) {
    Linear layer{weight(module + ".weight")};
    if (bias) layer.bias = vector(module + ".bias");
    return layer;
  }

  std::size_t nbytes() const { return nbytes_; }

 private:
  const Checkpoint& checkpoint_;
  const HeldFormat& held_;
  const OnLoaded& on_loaded_;
  std::size_t nbytes_ = 0;
};

QkvWeights load_qkv(WeightLoader& loader, const ModelConfig& c,
                    const std::string& layer) {
  const auto attention = layer + "self_attn.";
  QkvWeights qkv{loader.vector(layer + "input_layernorm.weight"),
                 loader.linear(attention + "q_proj", c.qkv_bias),
                 loader.linear(attention + "k_proj", c.qkv_bias),
                 loader.linear(attention + "v_proj", c.qkv_bias)};
  if (c.qk_norm) {
    qkv.q_norm = loader.vector(attention + "q_norm.weight");
    qkv.k_norm = loader.vector(attention + "k_norm.weight");
  }
  return qkv;
}

MlpWeights load_experts(WeightLoader& loader, const ModelConfig& c,
                        const std::string& layer) {
  const auto module = layer + c.moe.module + ".";
  const auto experts = module + "switch_mlp.";
  return {loader.vector(layer + "post_attention_layernorm.weight"),
          loader.linear(experts + "gate_proj", false),
          loader.linear(experts + "up_proj", false),
          loader.linear(experts + "down_proj", false),
          loader.linear(module + "gate", false)};
}

MlpWeights load_mlp(WeightLoader& loader, const ModelConfig& c,
                    const std::string& layer) {
  const auto mlp = layer + "mlp.";
  return {loader.vector(layer + "post_attention_layernorm.weight"),
          loader.linear(mlp + "gate_proj", c.mlp_bias),
          loader.linear(mlp + "up_proj", c.mlp_bias),
          loader.linear(mlp + "down_proj", c.mlp_bias)};
}

DecoderLayer load_layer(WeightLoader& loader, const ModelConfig& c, int index) {
  const auto prefix = concat("model.layers.", index, ".");
  const auto load_step = c.has_experts(index) ? load_experts : load_mlp;
  return {load_qkv(loader, c, prefix),
          loader.linear(prefix + "self_attn.o_proj", c.o_bias),
          load_step(loader, c, prefix)};
}

/// Remembers the first of the parameters shown to it that is not finite.
class FiniteCheck {
 public:
  explicit FiniteCheck(const ModelConfig& config) : config_(config) {}

  void weight(const std::string& name, const Weight& weight) {
    if (found_) return;
    if (!all_finite(weight)) found_ = name;
  }

  void linear(const std::string& module, const Linear& layer) {
    weight(module + ".weight", layer.weight);
    if (layer.bias) weight(module + ".bias", {*layer.bias});
  }

  void norm(const std::string& module, const std::optional<mx::array>& norm) {
    if (norm) weight(module + ".weight", {*norm});
  }

  void layer(const DecoderLayer& layer, std::size_t index) {
    const auto prefix = concat("model.layers.", index, ".");
    const auto attention = prefix + "self_attn.";
    weight(prefix + "input_layernorm.weight", {layer.qkv.input_layernorm});
    linear(attention + "q_proj", layer.qkv.q_proj);
    linear(attention + "k_proj", layer.qkv.k_proj);
    linear(attention + "v_proj", layer.qkv.v_proj);
    norm(attention + "q_norm", layer.qkv.q_norm);
    norm(attention + "k_norm", layer.qkv.k_norm);
    linear(attention + "o_proj", layer.o_proj);
    weight(prefix + "post_attention_layernorm.weight",
           {layer.mlp.post_attention_layernorm});
    auto mlp = prefix + "mlp.";
    if (const auto& router = layer.mlp.router) {
      mlp = concat(prefix, config_.moe.module, ".");
      linear(mlp + "gate", *router);
      mlp += "switch_mlp.";
    }
    linear(mlp + "gate_proj", layer.mlp.gate_proj);
    linear(mlp + "up_proj", layer.mlp.up_proj);
    linear(mlp + "down_proj", layer.mlp.down_proj);
  }

  const std::optional<std::string>& found() const { return found_; }

 private:
  const ModelConfig& config_;
  std::optional<std::string> found_;
};

}  // namespace

DecoderWeights load_decoder_weights(const Checkpoint& checkpoint,
                                    const ModelConfig& config,
                                    const HeldFormat& held,
                                    const OnLoaded& on_loaded) {
  WeightLoader loader(checkpoint, held, on_loaded);
  auto embed_tokens = loader.weight("model.embed_tokens.weight");
  std::vector<DecoderLayer> layers;
  for (int index = 0; index < config.num_hidden_layers; ++index) {
    layers.push_back(load_layer(loader, config, index));
  }
  auto norm = loader.vector("model.norm.weight");
  auto lm_head = config.tie_word_embeddings ? Linear{embed_tokens}
                                            : loader.linear("lm_head", false);
  return {std::move(embed_tokens), std::move(layers), std::move(norm),
          std::move(lm_head), loader.nbytes()};
}

std::optional<std::string> first_not_finite(const DecoderWeights& weights,
                                            const ModelConfig& config) {
  FiniteCheck check(config);
  check.weight("model.embed_tokens.weight", weights.embed_tokens);
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    check.layer(weights.layers[i], i);
  }
  check.weight("model.norm.weight", {weights.norm});
  check.linear("lm_head", weights.lm_head);
  return check.found();
}

}  // namespace llamlx
