#pragma once

#include <mutex>
#include <vector>

#include "cpu/matmul/matmul.h"

namespace llamlx {

/// What is known of a kernel that was asked for.
struct KernelNote {
  const MatmulKernel* kernel;
  WeightFormat format;
  ValueType compute;
  bool is_right;  ///< whether it reproduced the reference
};

/// Kernels in the order of their speed, the best first, each proved on a small
/// product at its first use for a format. Threads: any.
class MatmulRegistry {
 public:
  /// Of `ranked`, those up to `last` are used.
  MatmulRegistry(std::vector<const MatmulKernel*> ranked, Isa last);

  /// As matmul_kernel(). Errors: Error (unsupported) when none is right.
  const MatmulKernel& find(const WeightFormat& format, int cols,
                           ValueType compute, int rows);

  /// Of every kernel tried so far, in the order they were.
  std::vector<KernelNote> notes() const;

 private:
  bool is_right(const MatmulKernel& kernel, const WeightFormat& format,
                ValueType compute);

  const std::vector<const MatmulKernel*> kernels_;
  mutable std::mutex mutex_;
  std::vector<KernelNote> notes_;
};

/// Whether `kernel` reproduces a small product within what `compute` allows.
/// Takes well under a millisecond.
bool reproduces_reference(const MatmulKernel& kernel,
                          const WeightFormat& format, ValueType compute);

/// Of matmul_kernel(): what was tried so far. Threads: any.
std::vector<KernelNote> matmul_kernel_notes();

}  // namespace llamlx
