#pragma once

#include "cuda/matmul/stages.h"
#include "kernels/cuda/cuda_model.h"

namespace llamlx {

/// Rows that are multiplied, on the GPU [rows, cols of the matrix], and the
/// norm that is taken of them before; null: none.
struct ProductRows {
  const float* x;
  int rows;
  const CudaVector* norm = nullptr;
  float eps = 0;
  /// What came before made operands of them: multiply() said so.
  bool are_operands = false;

  const float* norm_data() const {
    return norm == nullptr ? nullptr : norm->data();
  }
};

/// The matrix that products are multiplied with next, all of it and by nobody
/// else, and the norm that is taken before; null: not known.
struct NextProduct {
  const CudaMatrix* matrix = nullptr;
  const CudaVector* norm = nullptr;
};

/// Where products go, on the GPU [rows, stride].
struct ProductTarget {
  float* out;
  int stride;
  cuda::Output output;
  NextProduct next = {};
};

/// How products of so many rows, up to kSomeRowsMost, read their operands
/// there: by warpgroups, where there are any and they are faster.
cuda::OperandOrder stage_order(const CudaDeviceInfo& device, int rows);

/// Where somebody else can put operands for the next product of so many rows,
/// and their type; no bytes where it does not take them.
struct OperandTarget {
  cuda::Stages stages;
  cuda::NumberType type;
};
OperandTarget operands_for(CudaModel& model, const CudaMatrix& matrix,
                           int rows);

/// Where somebody else can put operands for the next product of so many rows,
/// in numbers of bfloat16, which need no scales (cuda::ManyRowsArgs::operands);
/// null where it does not take them.
std::uint16_t* handed_operands(CudaModel& model, const CudaMatrix& matrix,
                               int rows);

/// Puts the product of rows and a matrix into the model's stream. Returns
/// whether it made operands for the next: that has to follow before any other,
/// and products of gates are then not written.
bool multiply(CudaModel& model, const CudaMatrix& matrix, const ProductRows& x,
              const ProductTarget& target);

/// hidden = silu(gate) * up of the workspace's gate_up [rows, 2 inner].
void multiply_gates(CudaModel& model, int rows, int inner);

}  // namespace llamlx
