#pragma once

#include <random>

#include <mlx/array.h>

#include "llamlx/llamlx.h"

namespace llamlx {

namespace mx = mlx::core;

/// Chooses the next token from logits.
///
/// temperature 0 takes the likeliest token (the first of equals); otherwise a
/// token is drawn from softmax(logits / temperature), the draws being decided
/// by the seed: by our kernels on the CPU and on an NVIDIA GPU (kernels/draw),
/// elsewhere by MLX's ops, each of which draws otherwise. Threads: one at a
/// time.
class Sampler {
 public:
  /// Errors: std::invalid_argument for a temperature that is negative or not
  /// finite.
  explicit Sampler(const SamplingOptions& options);

  /// Shapes   logits [M, V], float32; returns ids [M], int32, kNotFinite
  ///          (kernels/argmax/argmax.h) for rows that are not finite. Lazy.
  mx::array operator()(const mx::array& logits);

 private:
  float temperature_;
  std::mt19937_64 random_;  // for our kernels
  mx::array key_;           // for MLX
};

}  // namespace llamlx
