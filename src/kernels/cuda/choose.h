#pragma once

#include <cstdint>
#include <optional>

#include <mlx/array.h>

namespace llamlx {

namespace mx = mlx::core;

/// Tokens [M] of logits [M, V] that the CUDA backend has not computed yet: they
/// are chosen on the GPU, which the logits never leave; where their rows have
/// not been computed either, by the pass that makes both. The likeliest, or,
/// with a temperature above 0, drawn from softmax(logits / temperature) as
/// `key` decides. Nothing for other logits.
std::optional<mx::array> choose_on_gpu(const mx::array& logits,
                                       float temperature = 0,
                                       std::uint64_t key = 0);

}  // namespace llamlx
