#pragma once

#include "kernels/cuda/cuda_model.h"

namespace llamlx {

/// Rows that are multiplied, on the GPU [rows, cols of the matrix], and the
/// norm that is taken of them before; null: none.
struct ProductRows {
  const float* x;
  int rows;
  const CudaVector* norm = nullptr;
  float eps = 0;

  const float* norm_data() const {
    return norm == nullptr ? nullptr : norm->data();
  }
};

/// Where products go, on the GPU [rows, stride].
struct ProductTarget {
  float* out;
  int stride;
  cuda::Output output;
};

/// Puts the product of rows and a matrix into the model's stream.
void multiply(CudaModel& model, const CudaMatrix& matrix, const ProductRows& x,
              const ProductTarget& target);

/// hidden = silu(gate) * up of the workspace's gate_up [rows, 2 inner].
void multiply_gates(CudaModel& model, int rows, int inner);

}  // namespace llamlx
