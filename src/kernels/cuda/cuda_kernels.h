#pragma once

#include <string>

#include <mlx/dtype.h>

#include "cuda/device.h"

namespace llamlx {

namespace mx = mlx::core;

/// Which kernels multiply on a GPU.
struct CudaKernelChoice {
  std::string few_rows;   ///< e.g. "few_rows"; files of src/cuda/matmul
  std::string many_rows;  ///< e.g. "many_rows_hopper"
  /// What multiplies many rows there, and why that: "warpgroups (wgmma), which
  /// compute capability 9.0 has".
  std::string why;
};

/// Those that this build takes on `device` when it is computed in `compute`.
CudaKernelChoice cuda_kernel_choice(const CudaDeviceInfo& device,
                                    mx::Dtype compute);

/// "few_rows for few rows, many_rows_hopper for many: warpgroups (wgmma), which
/// compute capability 9.0 has".
std::string to_string(const CudaKernelChoice& choice);

}  // namespace llamlx
