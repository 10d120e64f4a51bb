#pragma once

#include "cuda/experts/experts.h"
#include "cuda/matmul/some_rows.h"

namespace llamlx::cuda {

inline constexpr int kAddThreads = 512;

/// x += the sum of what a row's experts make of it, times their shares: of
/// rising experts, so that it does not depend on who was done first. It also
/// makes operands of x for who reads it next.
///
/// Kernels  add_experts_f16, add_experts_bf16: of such operands.
/// Grid     [rows], or all rows of the next stages; blocks of kAddThreads with
///          add_shared_bytes().
/// Shapes   x [rows, cols], cols a multiple of 4; outputs [places, cols]; the
///          rest as RouteArgs has it.
struct AddExpertsArgs {
  float* x;
  int rows;
  int cols;
  const float* outputs;
  const int* chosen;
  const float* shares;
  const int* places;
  int used;
  int experts;
  NextOperands next;  ///< the stages' bytes: null, for nobody
};

constexpr int add_shared_bytes(int used) { return 8 * used; }

}  // namespace llamlx::cuda
