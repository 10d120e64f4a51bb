#pragma once

#include "cuda/experts/experts.h"
#include "cuda/intrinsics.h"

namespace llamlx::cuda {

/// Group `index`; of no rows where there are not so many.
__device__ inline ExpertGroup load_group(const ExpertGroups& groups,
                                         int index) {
  if (index >= load_fresh(groups.count)) return {};
  const auto* its = groups.groups + index;
  return {load_fresh(&its->expert), load_fresh(&its->first),
          load_fresh(&its->count)};
}

}  // namespace llamlx::cuda
