#pragma once

#include <cstdint>
#include <optional>

#include <mlx/array.h>

namespace llamlx {

/// The bits of `shape`'s values, `bits` each; empty when they are too many to
/// be addressed. Zeros do not excuse the other dimensions: MLX multiplies those
/// for its strides, and they must not overflow either. Dimensions are at
/// least 0.
std::optional<std::uint64_t> bits_needed(const mlx::core::Shape& shape,
                                         std::uint64_t bits);

}  // namespace llamlx
