#pragma once

#include "cuda/decode/short_bf16.h"

namespace llamlx::cuda {

/// Makes short tiles (short_bf16.h) of packed ones of bfloat16.
///
/// Kernel   shorten_bf16; a warp for every tile: blocks of 256.
struct ShortenArgs {
  const unsigned char* from;  ///< [tiles] packed
  unsigned char* to;          ///< [tiles] of kShortTileBytes
  long long tiles;
  /// Grows by one for each tile that cannot be short: it has more exceptions
  /// than there is room for, or numbers too large or not finite. What becomes
  /// of it means nothing.
  unsigned* refused;
};

}  // namespace llamlx::cuda
