#pragma once

#include "cuda/decode/shorten.h"
#include "cuda/matmul/matmul_testing.h"

namespace llamlx::cuda::testing {

/// What shorten.cu makes of a packed weight of bfloat16.
struct Shortened {
  std::vector<Words4> bytes;
  unsigned refused = 0;  ///< tiles

  const unsigned char* tile(std::size_t i) const {
    return reinterpret_cast<const unsigned char*>(bytes.data()) +
           i * kShortTileBytes;
  }
  const ShortHeader& header(std::size_t i) const {
    return *reinterpret_cast<const ShortHeader*>(tile(i) + kShortHeaderByte);
  }
};

inline Shortened shorten(const Packed& packed) {
  const int tiles = packed.row_blocks * packed.tiles;
  Shortened result;
  result.bytes.resize(
      static_cast<std::size_t>(tiles) * kShortTileBytes / sizeof(Words4),
      {{~0U, ~0U, ~0U, ~0U}});
  const ShortenArgs args{packed.data(),
                         reinterpret_cast<unsigned char*>(result.bytes.data()),
                         tiles, &result.refused};
  emulate("shorten_bf16",
          {.grid_x = static_cast<unsigned>(ceil_div(tiles * kWarpSize, 256)),
           .block = 256},
          args);
  return result;
}

}  // namespace llamlx::cuda::testing
