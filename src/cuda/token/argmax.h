#pragma once

#include "cuda/token/draw.h"

namespace llamlx::cuda {

inline constexpr int kArgmaxThreads = 256;
inline constexpr int kArgmaxBlocks = 32;  ///< of a row
/// Passes whose tokens the host can still read, and of how many rows.
inline constexpr int kTokenSlots = 64;
inline constexpr int kTokenSlotRows = 64;

/// The largest value that a block saw, and where.
struct LargestValue {
  float value;
  int index;  ///< -1: not all values were finite
};

/// The index of the first largest value of every row, or one that is drawn, or
/// -1 when a value is not finite: the next token.
///
/// Kernel   argmax_rows; grid [kArgmaxBlocks, rows], blocks of kArgmaxThreads.
/// Shapes   x [rows, size]; tokens [rows]; host_tokens [kTokenSlots,
///          kTokenSlotRows], of which it writes row `choice->slot`.
struct ArgmaxArgs {
  const float* x;
  int size;
  int rows;
  LargestValue* parts;  ///< [rows, kArgmaxBlocks]
  unsigned* counters;   ///< [rows], 0 before and after
  const Choice* choice;
  int* tokens;
  int* host_tokens;
};

}  // namespace llamlx::cuda
