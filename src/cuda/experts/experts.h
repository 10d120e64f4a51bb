#pragma once

#include "cuda/values.h"

/// Mixtures of experts. Rows that go to one expert are multiplied together: a
/// table says which, in the GPU's memory, as nothing of it is known where
/// kernels are launched. They are launched for as many groups as there can be,
/// and blocks leave at once that are for one that there is not.
///
/// What is made of a row for one of its experts lies at a place of its own.

namespace llamlx::cuda {

/// Experts of a layer at most: a lane of a warp knows 32 of them.
inline constexpr int kMostExperts = 1024;

/// Rows of a pass that one expert multiplies together.
struct ExpertGroup {
  int expert;
  int first;  ///< of their places, which follow each other
  int count;  ///< of rows
};

/// The groups of a pass, in the GPU's memory: of rising experts, and those of
/// one expert in the order of rows.
struct ExpertGroups {
  const ExpertGroup* groups;
  const int* count;
};

/// How rows are grouped.
struct Grouping {
  int rows;
  int experts;
  int used;  ///< experts of a row
  /// Rows of a group at most, of those that go to its expert. 0: every group
  /// has all rows, as nothing is lost where a matrix unit takes as many; rows
  /// are then read where they lie, and some places are not looked at.
  int group_rows;

  constexpr bool has_all_rows() const { return group_rows == 0; }
  /// How many groups there can be.
  constexpr int most_groups() const {
    const int pairs = rows * used;
    const int experts_used = pairs < experts ? pairs : experts;
    if (has_all_rows()) return experts_used;
    const int groups = (pairs + experts_used * (group_rows - 1)) / group_rows;
    return groups < pairs ? groups : pairs;
  }
  constexpr int places() const {
    return has_all_rows() ? most_groups() * rows : rows * used;
  }
};

}  // namespace llamlx::cuda
