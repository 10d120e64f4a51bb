#pragma once

#include "kernels/cuda/cuda_operands.h"

namespace llamlx {

/// How products of so many rows, up to kSomeRowsMost, read their operands
/// there: by warpgroups, where there are any and they are faster.
cuda::OperandOrder stage_order(const CudaDeviceInfo& device, int rows);

/// Where somebody else can put operands for the next product of so many rows,
/// and their type; no bytes where it does not take them.
struct OperandTarget {
  cuda::NextOperands next;
  cuda::NumberType type;
};
OperandTarget operands_for(CudaModel& model, const NextProduct& next, int rows);

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

/// hidden = silu(gate) * up of gate_up [rows, 2 inner].
void multiply_gates(CudaModel& model, const float* gate_up, int rows, int inner,
                    float* hidden);

}  // namespace llamlx
