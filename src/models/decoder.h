#pragma once

#include <memory>

#include "kernels/backend.h"
#include "models/weight_loader.h"

namespace llamlx {

/// A decoder-only transformer of the Llama kind: its config, its parameters,
/// and the stack of steps (kernels/stack.h) that a backend makes of them.
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
  /// Reads the config, verifies the tensors against it, and loads them, held as
  /// the backend does when it computes in `dtype`. `expected_tokens` as in
  /// StackParams.
  /// Errors: Error when the checkpoint is not what its config says, or what a
  /// backend plans does not fit its memory (out_of_memory).
  static Decoder load(const Checkpoint& checkpoint, mx::Dtype dtype,
                      const Backend& backend = mlx_backend(),
                      long long expected_tokens = 0,
                      const OnLoaded& on_loaded = {});

  Decoder(ModelConfig config, DecoderWeights weights, const Backend& backend,
          long long expected_tokens = 0);

  const ModelConfig& config() const { return config_; }
  const DecoderWeights& weights() const { return stack_->weights(); }
  /// Who does the arithmetic: Backend::name.
  const std::string& kernels() const { return kernels_; }

  /// Runs token ids [N] of the sequences in `rows` through all layers, and
  /// advances their caches. Returns the hidden states [N, D], before the final
  /// norm. Where positions are scaled dynamically, the rows of a sequence are
  /// turned as its length then asks, or the cache's expected_length().
  mx::array forward(const mx::array& ids, const Rows& rows) const;

  /// The same, but returns those of the last row of each sequence alone
  /// [sequences, D], which may be all that is kept of a prompt.
  mx::array forward_last(const mx::array& ids, const Rows& rows) const;

  /// The logits [M, V], float32, of hidden states [M, D].
  mx::array logits(const mx::array& x) const;

  /// As Stack.
  void warm_up() const { stack_->warm_up(); }
  std::size_t spared_bytes(int rows) const {
    return stack_->spared_bytes(rows);
  }
  int prefill_rows() const { return stack_->prefill_rows(); }

  /// A cache for one new sequence of about `capacity` tokens.
  std::unique_ptr<KVCache> make_cache(int capacity) const;

 private:
  /// How these rows turn.
  Rope rope(const Rows& rows) const;

  ModelConfig config_;
  std::string kernels_;
  std::shared_ptr<const Stack> stack_;
  Rope rope_;
};
}  // namespace llamlx
