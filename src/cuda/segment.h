#pragma once

namespace llamlx::cuda {

/// Consecutive tokens of one sequence in a pass, as kernels see them. Positions
/// count from the first that the cache holds.
struct SegmentView {
  /// The sequence's cache: [layer][keys, values][Hkv] heads as cached_rows.h
  /// lays them out, each layer `layer_bytes` after the one before.
  unsigned char* cache;
  unsigned long long layer_bytes;
  int capacity;   ///< positions there is room for
  int offset;     ///< position of the first row
  int first_row;  ///< in the pass
  int length;
};

}  // namespace llamlx::cuda
