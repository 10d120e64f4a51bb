#pragma once

#include <cstddef>

#include "cuda/experts/experts.h"
#include "cuda/values.h"

namespace llamlx {

/// The sizes of a layer's experts.
struct ExpertSizes {
  int experts;
  int used;         ///< of a row
  int hidden;       ///< D
  int inner;        ///< F
  bool has_wide;    ///< float32 weights, which go by few_rows
  bool has_halves;  ///< scales of 32 columns
  int bits;         ///< of a code; 0: numbers
  bool is_apart;    ///< gates and what they gate are two products
};

/// Rows that are in all groups: as many as a matrix unit multiplies at once.
inline constexpr int kRowsOfAllGroups = 8;

/// How rows go through a layer's experts.
struct ExpertPlan {
  int rows;        ///< together; more go in pieces of so many
  int group_rows;  ///< as cuda::Grouping has it
  bool is_many;    ///< by experts_many, else by experts_some or experts_few
};

/// Up to kRowsOfAllGroups are in every group; more in groups of those that go
/// to an expert, as large as will mostly do.
ExpertPlan plan_experts(const ExpertSizes& sizes, int rows,
                        cuda::NumberType compute);

/// How many groups there will be, as far as it is known, when rows spread
/// evenly over the experts.
int expected_groups(const cuda::Grouping& grouping);

/// Bytes of what rows have between the kernels of such a layer.
struct ExpertBytes {
  std::size_t own = 0;
  // What other products of a pass take in turns with it:
  std::size_t operands = 0;  ///< of many rows
  std::size_t parts = 0;     ///< of slices
};
ExpertBytes expert_bytes(const ExpertSizes& sizes, int rows,
                         cuda::NumberType compute, int multiprocessors);

}  // namespace llamlx
