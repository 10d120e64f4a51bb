#pragma once

#include <cstddef>
#include <span>
#include <string_view>

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

}  // namespace llamlx
