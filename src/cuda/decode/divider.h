#pragma once

#include "cuda/values.h"

namespace llamlx::cuda {

/// Divides by a number that is known before a kernel runs, which takes it a
/// tenth of the time of a division.
class Divider {
 public:
  constexpr Divider() = default;
  /// By 1 or more.
  constexpr explicit Divider(int by)
      : factor_((1ULL << kShift) / static_cast<unsigned long long>(by) + 1) {}

  /// n / by, rounded down, of n below 2^24 and n * by below 2^40.
  LLAMLX_HOST_DEVICE constexpr int divide(int n) const {
    return static_cast<int>(static_cast<unsigned long long>(n) * factor_ >>
                            kShift);
  }

 private:
  static constexpr int kShift = 40;

  unsigned long long factor_ = 0;
};

}  // namespace llamlx::cuda
