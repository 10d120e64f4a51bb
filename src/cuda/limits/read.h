#pragma once

#include "cuda/values.h"

namespace llamlx::cuda {

inline constexpr int kReadThreads = 512;

/// Reads memory and does next to nothing with it: how fast can that be?
///
/// Kernel   read_memory; blocks of kReadThreads, as many as run at once.
struct ReadArgs {
  const Words4* words;
  long long count;
  std::uint32_t* sink;  ///< written only if all words are one odd number
};

}  // namespace llamlx::cuda
