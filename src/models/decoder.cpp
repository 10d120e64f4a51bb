#include "models/decoder.h"

#include <algorithm>
#include <utility>

#include "models/rope.h"
#include "models/tensor_spec.h"

namespace llamlx {
namespace {

Rope make_rope(const ModelConfig& c) {
  const auto periods = rope_periods(c.rope, c.head_dim);
  const auto count = static_cast<int>(periods.size());
  return {c.rope.traditional, c.rope.attention_factor,
          mx::array(periods.begin(), {count})};
}

StackParams make_stack_params(const ModelConfig& c, long long expected_tokens) {
  return {{c.num_attention_heads, c.num_key_value_heads, c.head_dim},
          c.rms_norm_eps,
          c.layer_windows,
          expected_tokens,
          {c.moe.num_experts_per_tok, c.moe.norm_topk_prob}};
}

}  // namespace

Decoder Decoder::load(const Checkpoint& checkpoint, mx::Dtype dtype,
                      const Backend& backend, long long expected_tokens,
                      const OnLoaded& on_loaded) {
  auto config = read_model_config(checkpoint);
  verify_tensors(config, checkpoint);
  const auto held = [&](const Weight& stored, const ValueFormat& format) {
    auto result = backend.held(format, dtype);
    const bool stays = result.quantization == format.quantization;
    if (stays && backend.reads != nullptr && !backend.reads(stored)) {
      result.quantization.reset();
    }
    return result;
  };
  auto weights = load_decoder_weights(checkpoint, config, held, on_loaded);
  return {std::move(config), std::move(weights), backend, expected_tokens};
}

Decoder::Decoder(ModelConfig config, DecoderWeights weights,
                 const Backend& backend, long long expected_tokens)
    : config_(std::move(config)),
      kernels_(backend.name),
      stack_(backend.make(std::move(weights),
                          make_stack_params(config_, expected_tokens))),
      rope_(make_rope(config_)) {}

Rope Decoder::rope(const Rows& rows) const {
  auto rope = rope_;
  if (config_.rope.scaling != RopeConfig::Scaling::dynamic) return rope;
  std::vector<float> periods;
  for (const auto& [cache, length] : rows) {
    const int tokens =
        std::max(cache->offset() + length, cache->expected_length());
    const auto row = rope_periods(config_.rope, config_.head_dim, tokens);
    periods.insert(periods.end(), row.begin(), row.end());
  }
  rope.periods = mx::array(
      periods.begin(), {static_cast<int>(rows.size()), config_.head_dim / 2});
  return rope;
}

mx::array Decoder::forward(const mx::array& ids, const Rows& rows) const {
  auto x = stack_->forward(ids, rope(rows), rows);
  for (const auto& segment : rows) segment.cache->advance(segment.length);
  return x;
}

mx::array Decoder::forward_last(const mx::array& ids, const Rows& rows) const {
  auto x = stack_->forward_last(ids, rope(rows), rows);
  for (const auto& segment : rows) segment.cache->advance(segment.length);
  return x;
}

mx::array Decoder::logits(const mx::array& x) const {
  return stack_->logits(x);
}

std::unique_ptr<KVCache> Decoder::make_cache(int capacity) const {
  return stack_->make_cache(capacity);
}

}  // namespace llamlx
