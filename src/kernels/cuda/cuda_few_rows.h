#pragma once

#include "cuda/kernel.h"
#include "cuda/matmul/few_rows.h"
#include "kernels/cuda/cuda_operands.h"

namespace llamlx {

/// How few_rows multiplies rows and a matrix.
struct FewRowsLaunch {
  cuda::FewRowsArgs args;
  LaunchShape shape;
};

/// Rows that few_rows takes at once. Errors: Error (unsupported) where a
/// block's shared memory has no room for one.
int most_few_rows(const CudaModel& model, const CudaMatrix& matrix);

/// Of up to so many rows. `kernel` is who is launched.
FewRowsLaunch few_rows_launch(const CudaModel& model, const CudaMatrix& matrix,
                              const Kernel& kernel, const ProductRows& x,
                              const ProductTarget& target);

}  // namespace llamlx
