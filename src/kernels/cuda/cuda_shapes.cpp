#include "kernels/cuda/cuda_shapes.h"

#include "base/concat.h"
#include "cuda/experts/experts.h"

namespace llamlx {

std::string cuda_objection(const CudaShapes& shapes) {
  if (shapes.head_dim % 8 != 0 || shapes.head_dim > 256) {
    return concat("our kernels take heads of 8, 16, ... 256 numbers, not ",
                  shapes.head_dim);
  }
  if (shapes.num_experts > cuda::kMostExperts) {
    return concat("our kernels take up to ", cuda::kMostExperts,
                  " experts, not ", shapes.num_experts);
  }
  for (const int columns : shapes.columns) {
    if (columns % 4 == 0) continue;
    return concat("our kernels take rows of a multiple of 4 numbers, not ",
                  columns);
  }
  return {};
}

}  // namespace llamlx
