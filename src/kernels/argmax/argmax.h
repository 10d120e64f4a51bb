#pragma once

#include <cstdint>

#include <mlx/array.h>

namespace llamlx {

namespace mx = mlx::core;

/// What argmax() gives for a row with values that are not finite.
inline constexpr std::int32_t kNotFinite = -1;

/// The index of the first largest value of every row, or kNotFinite. One pass
/// over the values, on the default device. Lazy.
///
/// Shapes   x [M, V], float32; returns [M], int32.
mx::array argmax(const mx::array& x);

}  // namespace llamlx
