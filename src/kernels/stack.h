#pragma once

#include <memory>
#include <vector>

#include "kernels/decoder_weights.h"
#include "kernels/rows.h"

namespace llamlx {

/// What the steps of a decoder take besides weights and rows.
struct StackParams {
  HeadLayout heads;
  float rms_norm_eps;
  std::vector<int> windows;  ///< of each layer: see attention.h; 0: all
  /// Of all caches together, as far as that is known: memory is planned for
  /// them where it cannot be had later.
  long long expected_tokens = 0;
  ExpertParams experts = {};  ///< of layers that have some
};

/// The steps of a decoder over its weights, as one backend computes them. Each
/// step's header (embed/, qkv/, attention/, output/, mlp/, logits/) says what
/// it must compute; how many of them become one node of the graph is up to the
/// backend. Nothing above knows which backend ran.
///
/// Threads: const members from several threads, each with caches of its own.
/// Everything is lazy, as MLX is.
class Stack {
 public:
  virtual ~Stack() = default;

  virtual const DecoderWeights& weights() const = 0;

  /// A cache for one new sequence of about `capacity` tokens.
  virtual std::unique_ptr<KVCache> make_cache(int capacity) const = 0;

  /// Steps 1 to 5 for all layers: the hidden states [N, D] of token ids [N].
  /// Appends to the caches of the rows, and leaves advancing them to the
  /// caller. `rows` are of caches that make_cache() gave.
  virtual mx::array forward(const mx::array& ids, const Rope& rope,
                            const Rows& rows) const = 0;

  /// Those of the last row of each segment alone: [segments, D]. A backend
  /// whose hidden states lie elsewhere need not bring the others.
  virtual mx::array forward_last(const mx::array& ids, const Rope& rope,
                                 const Rows& rows) const;

  /// Step 6: logits [M, V], float32, of hidden states [M, D].
  virtual mx::array logits(const mx::array& x) const = 0;

  /// Does at once what is else done little by little in the first passes, as it
  /// pays only after some of them.
  virtual void warm_up() const {}

  /// Of the bytes of weights(), those that a pass of `rows` rows need not read,
  /// because a shorter copy has been made of them.
  virtual std::size_t spared_bytes(int /*rows*/) const { return 0; }

  /// Rows of a prompt that best go through together: enough to keep a device
  /// busy, few enough for what is kept of them to stay small (MLX's ops keep
  /// scores [H, rows, S]).
  virtual int prefill_rows() const { return 512; }
};

}  // namespace llamlx
