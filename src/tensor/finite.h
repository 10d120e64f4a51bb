#pragma once

#include <mlx/array.h>

namespace llamlx {

/// Whether no value of `values` is infinite or NaN. Integers always are finite.
/// Evaluates and reads once, at the speed of memory.
bool all_finite(const mlx::core::array& values);

}  // namespace llamlx
