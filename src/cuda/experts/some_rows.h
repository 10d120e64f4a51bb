#pragma once

#include "cuda/experts/experts.h"
#include "cuda/matmul/some_rows.h"

namespace llamlx::cuda {

/// Rows of a group at most.
inline constexpr int kSomeRowsOfGroup = 32;
/// Blocks of all groups whose weights are cut into slices, at most: as many
/// counters are there.
inline constexpr int kSlicedBlocks = 2048;

/// Products of some_rows for every group of rows, with the weight of its
/// expert. y of a group's rows is at its places: row i at `out` + (first + i)
/// out_stride.
///
/// Kernels  experts_some_W_nN, as some_rows_W_nN for N of 1, 2, 4: of groups of
///          8, 16, 32 rows.
/// Grid     [some_rows_groups(), slices, groups].
struct ExpertsSomeArgs {
  /// Of the first expert and group, without bias; of `parts` and `counters`
  /// every group has some of its own, and `rows` is its own, too.
  SomeRowsArgs each;
  ExpertGroups groups;
  // Bytes.
  long long weight_stride;  ///< from one expert's weight to the next's
  long long x_stride;       ///< from one group's stages to the next's; 0: all
                            ///< groups read the same
  long long next_stride;    ///< the same of operands for the next product
};

/// Stages of a slice: as few as keep the multiprocessors busy with what
/// `groups` groups have, which is how many there will be, as far as is known.
constexpr int experts_some_slice(int row_blocks, int tiles, int together,
                                 int groups, int most_groups,
                                 int multiprocessors) {
  const int blocks = some_rows_groups(row_blocks);
  if (blocks * most_groups > kSlicedBlocks) return operand_stages(tiles);
  return some_rows_slice(groups * blocks * kSomeRowsWarps, tiles, together,
                         multiprocessors);
}

/// Bytes of `parts` for so many slices and groups.
constexpr std::size_t experts_some_parts_bytes(int row_blocks, int columns,
                                               int slices, int most_groups) {
  return static_cast<std::size_t>(most_groups) *
         some_rows_parts_bytes(row_blocks, columns, slices);
}

}  // namespace llamlx::cuda
