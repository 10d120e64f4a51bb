#pragma once

#include <mlx/array.h>

#include "tensor/weight.h"

namespace llamlx {

/// Whether no value of `values` is infinite or NaN. Integers always are finite.
/// Evaluates and reads once, at the speed of memory.
bool all_finite(const mx::array& values);

/// The same of a weight's values: when quantised, of its scales and biases, and
/// of numbers of 8 bits.
bool all_finite(const Weight& weight);

}  // namespace llamlx
