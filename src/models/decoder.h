#pragma once

#include <memory>

#include "kernels/backend.h"
#include "models/decoder_weights.h"

namespace llamlx {

/// A decoder-only transformer of the Llama kind: its parameters, and the order
/// in which the steps (kernels/backend.h) are taken.
///
/// Example:
///     auto checkpoint = Checkpoint::open("mlx_model");
///     auto decoder = Decoder::load(*checkpoint, mx::float32);
///     auto cache = decoder.make_cache(/*capacity=*/256);
///     auto x = decoder.forward(mx::array({1, 5, 9}), {{cache.get(), 3}});
///     auto logits = decoder.logits(x);  // [3, V]
///
/// Threads: const members may be called from several threads, each with caches
/// of its own. Everything is lazy, as MLX is: evaluate what you need.
class Decoder {
 public:
  /// Reads the config, verifies the tensors against it, and loads them.
  /// Errors: Error when the checkpoint is not what its config says.
  static Decoder load(const Checkpoint& checkpoint, mx::Dtype dtype,
                      const Backend& backend = mlx_backend());

  Decoder(ModelConfig config, DecoderWeights weights, const Backend& backend);

  const ModelConfig& config() const { return config_; }
  const DecoderWeights& weights() const { return weights_; }
  const Backend& backend() const { return *backend_; }

  /// Runs token ids [N] of the sequences in `rows` through all layers, and
  /// advances their caches. Returns the hidden states [N, D], before the final
  /// norm. Where positions are scaled dynamically, the rows of a sequence are
  /// turned as its length then asks, or the cache's expected_length().
  mx::array forward(const mx::array& ids, const Rows& rows) const;

  /// The logits [M, V], float32, of hidden states [M, D].
  mx::array logits(const mx::array& x) const;

  /// A cache for one new sequence of about `capacity` tokens.
  std::unique_ptr<KVCache> make_cache(int capacity) const;

 private:
  /// What the QKV step takes for these rows.
  QkvParams qkv_params(const Rows& rows) const;

  ModelConfig config_;
  DecoderWeights weights_;
  const Backend* backend_;
  QkvParams qkv_params_;
};

}  // namespace llamlx
