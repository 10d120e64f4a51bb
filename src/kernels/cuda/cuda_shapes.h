#pragma once

#include <string>
#include <vector>

namespace llamlx {

/// What of a model tells whether our kernels for GPUs take it.
struct CudaShapes {
  int head_dim = 0;
  int num_experts = 0;            ///< of a layer; 0: none
  std::vector<int> columns = {};  ///< of the products' weights
};

/// What they take instead of what it has: "our kernels take heads of 8, 16, ...
/// 256 numbers, not 12". Empty: they take it all. No GPU is needed.
std::string cuda_objection(const CudaShapes& shapes);

}  // namespace llamlx
