#pragma once

#include "cuda/matmul/packed_weight.h"

namespace llamlx::cuda {

/// A weight as MLX lays it out: dense [rows, cols], or codes packed low bits
/// first with scales and, if they are affine, biases [rows, cols / group].
struct PlainWeight {
  const void* data;
  const void* scales;
  const void* biases;
  int rows;
};

inline constexpr int kMaxSources = 3;

/// Packs up to three weights of the same layout and width as one. Their rows
/// follow each other; or, `interleaved`, two weights take turns of 8 rows, so
/// that rows of the same number meet in one lane.
///
/// Of experts each source has the weights of all, one after another, and each
/// expert becomes a packed weight of its own; they follow each other.
///
/// Kernel   pack_weight; a thread for every lane of every tile: blocks of 256.
struct PackArgs {
  PlainWeight sources[kMaxSources];  ///< rows: of one expert
  int num_sources;
  int experts;  ///< or 1
  int interleaved;
  int cols;
  int group;  ///< of the sources: 16, 32, 64 or 128
  PackedLayout layout;
  int row_blocks;  ///< of one expert
  int tiles;
  unsigned char* out;
};

}  // namespace llamlx::cuda
