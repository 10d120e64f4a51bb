#pragma once

#include <optional>

#include "tensor/weight.h"

namespace llamlx {

/// A linear layer's parameters: y = x weight^T + bias.
///
/// Shapes   weight [out, in] (logical); bias [out].
struct Linear {
  Weight weight;
  std::optional<mx::array> bias = {};
};

/// Computes x weight^T + bias with MLX's own ops: matmul, or quantized_matmul.
///
/// Shapes   x [..., in]; returns [..., out].
/// Dtypes   x and the weight's values alike; x of any floating type where the
///          weight's scales are bytes.
mx::array linear(const mx::array& x, const Linear& layer);

}  // namespace llamlx
