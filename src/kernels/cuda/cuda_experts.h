#pragma once

#include "kernels/cuda/cuda_operands.h"

namespace llamlx {

/// Step 5 of a layer with experts (kernels/mlp/mlp.h), put into the model's
/// stream: adds to `residual`, which is x, what the experts make of norm(x).
/// Returns whether it made operands for the next product.
bool run_experts(CudaModel& model, const CudaExperts& experts,
                 const ProductRows& x, const ProductTarget& residual);

/// The product that reads x first of so many rows in that step, if what comes
/// before can make its operands.
NextProduct first_of_experts(const CudaModel& model, const CudaExperts& experts,
                             const CudaVector& norm, int rows);

}  // namespace llamlx
