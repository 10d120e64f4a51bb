#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

#include "cuda/matmul/operand_order.h"
#include "cuda/matmul/some_rows.h"
#include "kernels/cuda/cuda_model.h"

namespace llamlx {

// What products take, and what rows become before they are multiplied.

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
  /// Up to `most` of them, as they lie there.
  ProductRows from(int first, int most, int cols) const {
    auto some = *this;
    some.x += static_cast<std::ptrdiff_t>(first) * cols;
    some.rows = std::min(most, rows - first);
    return some;
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

  /// Of some of the rows, which nobody reads as operands.
  ProductTarget from(int first) const {
    return {out + static_cast<std::ptrdiff_t>(first) * stride, stride, output};
  }
};

/// What numbers of 16 bits such a matrix is multiplied with.
cuda::NumberType operand_of(const CudaMatrix& matrix);

/// "f16": what kernels that make them are called.
std::string operand_name(cuda::NumberType type);

/// Numbers of 16 bits that an element of x becomes, so that no more is rounded
/// off it than the type holds that is computed in.
int planes_of(const CudaModel& model, cuda::NumberType operand);

/// Makes stages of x, in numbers of that type, and what is left of its norm.
void make_stages(CudaModel& model, const CudaMatrix& matrix,
                 const ProductRows& x, cuda::NumberType operand,
                 const cuda::Stages& out);

/// What is left of the norm of x when its stages are there.
cuda::LateNorm late_norm(const CudaModel& model, const CudaMatrix& matrix,
                         const ProductRows& x);

/// Rows of x as products of many rows read them.
struct ManyOperands {
  const std::uint16_t* numbers;
  const float* scales;
};

/// Makes such of x, in the workspace.
ManyOperands make_operands(CudaModel& model, const CudaMatrix& matrix,
                           const ProductRows& x, int planes,
                           cuda::OperandOrder order);

}  // namespace llamlx
