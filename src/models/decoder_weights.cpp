#include "models/decoder_weights.h"

#include <mlx/transforms.h>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

/// Reads parameters by name and counts their bytes.
class WeightLoader {
 public:
  WeightLoader(const Checkpoint& checkpoint, mx::Dtype dtype)
      : checkpoint_(checkpoint), dtype_(dtype) {}

  Weight weight(const std::string& name) {
    const auto* info = checkpoint_.find(name);
    if (info == nullptr) {
      fail(ErrorCode::mismatch, checkpoint_.path().string(),
           concat("tensor ", name, " is missing"), "convert the model again");
    }
    auto result = astype(checkpoint_.load(*info), dtype_);
    // Evaluated one by one, so that the stored values go before the next come.
    mx::eval(result.data);
    if (result.quantization) mx::eval(*result.scales, *result.biases);
    nbytes_ += result.nbytes();
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
  mx::Dtype dtype_;
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

DecoderLayer load_layer(WeightLoader& loader, const ModelConfig& c, int index) {
  const auto prefix = concat("model.layers.", index, ".");
  const auto mlp = prefix + "mlp.";
  return {
      load_qkv(loader, c, prefix),
      loader.linear(prefix + "self_attn.o_proj", c.o_bias),
      {loader.vector(prefix + "post_attention_layernorm.weight"),
       loader.linear(mlp + "gate_proj", c.mlp_bias),
       loader.linear(mlp + "up_proj", c.mlp_bias),
       loader.linear(mlp + "down_proj", c.mlp_bias)},
  };
}

}  // namespace

DecoderWeights load_decoder_weights(const Checkpoint& checkpoint,
                                    const ModelConfig& config,
                                    mx::Dtype dtype) {
  WeightLoader loader(checkpoint, dtype);
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

}  // namespace llamlx
