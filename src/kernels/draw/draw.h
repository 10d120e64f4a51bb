#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <mlx/array.h>

namespace llamlx {

namespace mx = mlx::core;

/// An index for every row, drawn from softmax(x / temperature), or kNotFinite
/// (kernels/argmax/argmax.h) for a row with values that are not finite.
/// temperature > 0. Lazy.
///
/// Shapes   x [M, V], float32; returns [M], int32.

/// Two passes over the values on the CPU: the index is the first at which the
/// sum of the probabilities up to it passes the row's number of `uniform` [M],
/// each in [0, 1). The same whatever the number of threads.
mx::array draw_cpu(const mx::array& x, float temperature,
                   std::vector<double> uniform);

/// By the GPU's pass that makes them, as `key` decides: nothing for logits that
/// no such pass is to make (kernels/cuda/choose.h).
std::optional<mx::array> draw_on_gpu(const mx::array& x, float temperature,
                                     std::uint64_t key);

/// By MLX's ops on any device, as `key` decides.
mx::array draw_mlx(const mx::array& x, float temperature, const mx::array& key);

}  // namespace llamlx
