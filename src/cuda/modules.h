#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "cuda/device.h"

namespace llamlx {

/// A file of kernels as nvcc compiled it, for all GPUs, in this program's
/// memory.
struct CudaModule {
  std::string_view name;  ///< its path in this room, without ".cu"
  std::span<const std::byte> fatbin;
};

/// Those that cmake/cuda_kernels.cmake put into this build; it writes this
/// function's body.
std::span<const CudaModule> cuda_modules();

/// The architectures they are compiled for: "8.0, 9.0".
std::string_view cuda_architectures();

/// Whether `device` has the warpgroups of compute capability 9.0, and this
/// build the kernels for them. The emulated GPU has none.
inline bool has_warpgroups(const CudaDeviceInfo& device) {
  return device.compute_capability == 90 &&
         cuda_architectures().find("9.0a") != std::string_view::npos;
}

}  // namespace llamlx
