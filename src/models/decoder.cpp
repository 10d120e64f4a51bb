#include "models/decoder.h"

#include <algorithm>
#include <utility>

#include "models/rope.h"
#include "models/tensor_spec.h"

namespace llamlx {
namespace {

QkvParams make_qkv_params(const ModelConfig& c) {
  const auto periods = rope_periods(c.rope, c.head_dim);
  const auto count = static_cast<int>(periods.size());
  return {{c.num_attention_heads, c.num_key_value_heads, c.head_dim},
          {c.rope.traditional, c.rope.attention_factor,
           mx::array(periods.begin(), {count})},
          c.rms_norm_eps};
}

}  // namespace

Decoder Decoder::load(const Checkpoint& checkpoint, mx::Dtype dtype,
                      const Backend& backend) {
  auto config = read_model_config(checkpoint);
  verify_tensors(config, checkpoint);
  auto weights = load_decoder_weights(checkpoint, config, dtype);
  return {std::move(config), std::move(weights), backend};
}

Decoder::Decoder(ModelConfig config, DecoderWeights weights,
                 const Backend& backend)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      backend_(&backend),
      qkv_params_(make_qkv_params(config_)) {}

QkvParams Decoder::qkv_params(const Rows& rows) const {
  auto params = qkv_params_;
  if (config_.rope.scaling != RopeConfig::Scaling::dynamic) return params;
  std::vector<float> periods;
  for (const auto& [cache, length] : rows) {
    const int tokens =
        std::max(cache->offset() + length, cache->expected_length());
    const auto row = rope_periods(config_.rope, config_.head_dim, tokens);
    periods.insert(periods.end(), row.begin(), row.end());
  }
  params.rope.periods = mx::array(
      periods.begin(), {static_cast<int>(rows.size()), config_.head_dim / 2});
  return params;
}

mx::array Decoder::forward(const mx::array& ids, const Rows& rows) const {
  const auto& step = *backend_;
  const auto params = qkv_params(rows);
  auto x = step.embed(ids, weights_.embed_tokens);
  for (int i = 0; i < config_.num_hidden_layers; ++i) {
    const auto& layer = weights_.layers[i];
    const auto q = step.qkv(x, layer.qkv, params, i, rows);
    const auto heads = step.attention(q, i, config_.layer_windows[i], rows);
    x = step.output(heads, layer.o_proj, x);
    x = step.mlp(x, layer.mlp, config_.rms_norm_eps);
  }
  for (const auto& segment : rows) segment.cache->advance(segment.length);
  return x;
}

mx::array Decoder::logits(const mx::array& x) const {
  return backend_->logits(x, weights_.norm, weights_.lm_head,
                          config_.rms_norm_eps);
}

std::unique_ptr<KVCache> Decoder::make_cache(int capacity) const {
  return std::make_unique<ContiguousKVCache>(config_.num_hidden_layers,
                                             capacity);
}

}  // namespace llamlx
