#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>

namespace llamlx {

/// Values that nobody can take for a result, where there is none.
inline void poison(float* values, std::size_t count) {
  std::fill_n(values, count, std::numeric_limits<float>::quiet_NaN());
}

/// Calls `compute()`, which writes `count` values. If it throws, which is told
/// to whoever next waits for the stream, they are not left as they were.
template <typename Compute>
void compute_or_poison(float* values, std::size_t count,
                       const Compute& compute) {
  try {
    compute();
  } catch (...) {
    poison(values, count);
    throw;
  }
}

}  // namespace llamlx
