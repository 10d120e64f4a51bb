#pragma once

#include "cuda/experts/experts.h"
#include "cuda/matmul/few_rows.h"

namespace llamlx::cuda {

/// Products of few_rows for every group of rows, with the float32 weight of its
/// expert: groups that have all rows. y of a group's rows is at its places.
///
/// Kernel   experts_few_f32; grid [blocks, 1, groups].
struct ExpertsFewArgs {
  FewRowsArgs each;  ///< of the first expert and group, without bias
  ExpertGroups groups;
  long long weight_stride;  ///< bytes from one expert's weight to the next's
  int x_is_of_places;       ///< x [places, cols]; else [rows, cols]
};

}  // namespace llamlx::cuda
