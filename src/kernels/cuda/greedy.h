#pragma once

#include <optional>

#include <mlx/array.h>

namespace llamlx {

namespace mx = mlx::core;

/// argmax() of logits that the CUDA backend has not computed yet, of rows that
/// it has not computed either: tokens that are chosen on the GPU by the pass
/// that makes the logits, which never leave it. Nothing for other logits.
std::optional<mx::array> greedy_on_gpu(const mx::array& logits);

}  // namespace llamlx
