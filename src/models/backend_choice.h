#pragma once

#include <ostream>

#include <gtest/gtest.h>

#include "cuda/device.h"
#include "kernels/backend.h"

// Only *_test.cpp files include this.
namespace llamlx::testing {

/// Who computes in a test: MLX's ops, or our kernels.
enum class By { ops, cpu, cuda };

inline constexpr By kEveryone[] = {By::ops, By::cpu, By::cuda};
inline constexpr By kKernels[] = {By::cpu, By::cuda};

inline const char* to_string(By by) {
  return by == By::ops ? "Ops" : by == By::cpu ? "Cpu" : "Cuda";
}
inline std::ostream& operator<<(std::ostream& out, By by) {
  return out << to_string(by);
}

inline Backend backend_of(By by, mx::Dtype compute) {
  if (by == By::ops) return mlx_backend();
  return by == By::cpu ? cpu_backend(compute) : cuda_backend(compute);
}

/// Leaves a test out that needs a GPU where there is none.
inline void skip_unless_here(By by) {
  if (by == By::cuda && !cuda_device_info()) GTEST_SKIP() << cuda_absence();
}

}  // namespace llamlx::testing
