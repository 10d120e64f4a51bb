#pragma once

#include <string>

#include <mlx/dtype.h>

#include "cuda/device.h"

namespace llamlx {

namespace mx = mlx::core;

/// Which kernels compute on a GPU.
struct CudaKernelChoice {
  /// "decode" is one kernel for all of a token, of models whose weights have
  /// one format, unless caches have 8 bits (cuda_decode.h); those of others are
  /// multiplied by few_rows, and codes on compute capability 9.0 by some_rows.
  std::string one_row;
  /// Up to 64: "some_rows", also what it becomes by warpgroups (some_rows.h).
  std::string few_rows;
  std::string many_rows;  ///< e.g. "many_rows_hopper"
  /// What multiplies many rows there, and why that: "warpgroups (wgmma), which
  /// compute capability 9.0 has".
  std::string why;
  /// What multiplies with experts, few and many rows; empty: there are none.
  std::string experts = {};
};

/// Those that this build takes on `device` when it is computed in `compute`, of
/// a model that has experts or not.
CudaKernelChoice cuda_kernel_choice(const CudaDeviceInfo& device,
                                    mx::Dtype compute,
                                    bool has_experts = false);

/// "decode for one row, some_rows for few, many_rows_hopper for many:
/// warpgroups (wgmma), which compute capability 9.0 has", and then of experts.
std::string to_string(const CudaKernelChoice& choice);

}  // namespace llamlx
