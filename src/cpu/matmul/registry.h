#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "cpu/matmul/matmul.h"

namespace llamlx {

/// What is known of a kernel that was asked for.
struct KernelNote {
  const MatmulKernel* kernel;
  WeightFormat format;
  ValueType compute;
  bool is_right;      ///< whether it reproduced the reference
  std::string fault;  ///< if not, how it failed, for people to read
};

/// What multiplies with weights of one format; null where no kernel is right.
struct ServingKernels {
  const MatmulKernel* one_row = nullptr;
  const MatmulKernel* many_rows = nullptr;
  std::vector<KernelNote> wrong;  ///< better ones that are not right
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

  /// Which kernels serve a format. Errors: none.
  ServingKernels serving(const WeightFormat& format, int cols,
                         ValueType compute);

  /// Of every kernel tried so far, in the order they were.
  std::vector<KernelNote> notes() const;

 private:
  /// Null when none is right. The caller has the lock.
  const MatmulKernel* find_right(const WeightFormat& format, int cols,
                                 ValueType compute, int rows);
  bool is_right(const MatmulKernel& kernel, const WeightFormat& format,
                ValueType compute);

  const std::vector<const MatmulKernel*> kernels_;
  mutable std::mutex mutex_;
  std::vector<KernelNote> notes_;
};

/// How `kernel` fails to reproduce a small product within what `compute`
/// allows; empty when it does. Takes well under a millisecond.
std::string fault_of(const MatmulKernel& kernel, const WeightFormat& format,
                     ValueType compute);

/// Of matmul_kernel(): what was tried so far. Threads: any.
std::vector<KernelNote> matmul_kernel_notes();

/// Of matmul_kernel(): what it gives for one row of x and for many.
/// Errors: as active_isa(). Threads: any.
ServingKernels serving_kernels(const WeightFormat& format, int cols,
                               ValueType compute);

}  // namespace llamlx
