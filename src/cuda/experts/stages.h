#pragma once

#include "cuda/experts/experts.h"
#include "cuda/matmul/stages.h"

namespace llamlx::cuda {

/// Makes stages of x (matmul/stages.h) for every group: of its rows, one after
/// another, with the norm that is taken of them.
///
/// Kernels  make_group_stages_f16, make_group_stages_bf16.
/// Grid     [out.stage.rows, groups], blocks of kStageThreads.
/// Shapes   x [rows, cols], or [places, cols]; cols a multiple of 4; what is
///          more than a group has is zeros.
struct GroupStageArgs {
  const float* x;
  int cols;
  int tiles;
  const float* norm;   ///< [cols] of an rms norm, or null: no norm is taken
  const float* norms;  ///< [rows]: what that multiplies a row by, besides
  const int* rows_of;  ///< [places]; null: x is of places
  ExpertGroups groups;
  Stages out;        ///< of the first group
  long long stride;  ///< bytes from one group's to the next's
};

}  // namespace llamlx::cuda
