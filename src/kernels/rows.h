#pragma once

#include <vector>

#include "kernels/kv_cache.h"

namespace llamlx {

/// A run of rows that are consecutive tokens of one sequence. Their positions
/// are cache->offset(), cache->offset() + 1, ...
struct Segment {
  KVCache* cache;
  int length;
};

/// Which sequences the rows of a step belong to, in order. Sequences of any
/// length at any position go through a step together, end to end, with no
/// padding between them: N rows are the sum of the segments' lengths.
using Rows = std::vector<Segment>;

}  // namespace llamlx
