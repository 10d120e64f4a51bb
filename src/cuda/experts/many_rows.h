#pragma once

#include "cuda/experts/experts.h"
#include "cuda/matmul/many_rows.h"

namespace llamlx::cuda {

inline constexpr int kExpertsManySharedBytes =
    kManyRowsSharedBytes + 4 * kManyRowsTokens;

/// Products of many_rows for every group of up to kManyRowsTokens rows, with
/// the weight of its expert; of codes, whose numbers it makes as it multiplies
/// them: those of all experts would be far more memory than a pass reads. y of
/// a group's rows is at its places.
///
/// Kernels  experts_many_W: of f16, bf16, and affineB_gG_T as few_rows has;
///          grid [groups, blocks of kManyRowsBlock rows of a weight].
struct ExpertsManyArgs {
  /// Of the first expert, without bias; x as make_operands made it, of all rows
  /// or places.
  ManyRowsArgs each;
  ExpertGroups groups;
  const int* rows_of;       ///< [places]; null: x is of places
  long long weight_stride;  ///< bytes from one expert's weight to the next's
};

}  // namespace llamlx::cuda
