#pragma once

#include "kernels/cuda/cuda_operands.h"

namespace llamlx {

/// Step 5 of a layer (kernels/mlp/mlp.h), of one mlp or of experts, put into
/// the model's stream: adds to `residual`, which is x, what they make of
/// norm(x). Returns whether it made operands for the next product.
bool run_mlp(CudaModel& model, const CudaLayer& layer, const ProductRows& x,
             const ProductTarget& residual);

/// The product that reads x first of so many rows in that step, if what comes
/// before can make its operands.
NextProduct first_of_mlp(const CudaModel& model, const CudaLayer& layer,
                         int rows);

}  // namespace llamlx
