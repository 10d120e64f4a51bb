#pragma once

#include "cuda/decode/input.h"

namespace llamlx::cuda {

/// What a lane reads of x for a tile.
template <typename Tile>
struct LaneOfInput {
  const unsigned char* x;
  const InputGroup* groups;

  // Columns after the second are not looked at.
  __device__ LaneOfInput(const InputSpace<Tile>& space, unsigned lane)
      : x(space.planes + lane / 4 % 2 * InputSpace<Tile>::kPlaneBytes +
          lane % 4 * 16),
        groups(space.groups) {}

  __device__ LaneOfInput at(int tile) const {
    auto result = *this;
    result.x += tile * kTileCols * decode_operand_bytes(Tile::layout());
    result.groups += tile * InputSpace<Tile>::kGroups;
    return result;
  }

  /// A number of x beside a tile of numbers of 16 bits, by all lanes of a warp
  /// together, each of which looks at one of its two parts.
  __device__ float number(unsigned lane, int col) const {
    const auto* numbers =
        reinterpret_cast<const std::uint16_t*>(x - lane % 4 * 16);
    const float part = unpack(typename Tile::Operand{}, numbers[col]);
    return (part + __shfl_xor_sync(kAllLanes, part, 4)) * groups->scale;
  }
};

/// acc += the products of a tile's numbers of 16 bits, times `scale`.
template <typename Tile>
__device__ void add_numbers(const Tile& tile, const LaneOfInput<Tile>& from,
                            float scale, float (&acc)[2]) {
  float c[4] = {0, 0, 0, 0};
#pragma unroll
  for (int run = 0; run < 2; ++run) {
    const auto x = *reinterpret_cast<const Words4*>(from.x + 64 * run);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      std::uint32_t a[4];
      tile.fragment(2 * run + i, a);
      const std::uint32_t b[2] = {x.w[2 * i], x.w[2 * i + 1]};
      multiply_add(typename Tile::Operand{}, c, a, b);
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    acc[half] = fmaf(c[2 * half] + c[2 * half + 1], scale, acc[half]);
  }
}

template <typename Tile>
__device__ void multiply_input(const Tile& tile, const LaneOfInput<Tile>& from,
                               float (&acc)[2]) {
  add_numbers(tile, from, from.groups->scale, acc);
}

/// acc += the products of what tiles hold beside their numbers, from the first
/// of them on: nothing but for those of short_tile.h.
template <typename Tile, int kCount>
__device__ void add_exceptions(const Tile (&)[kCount], const unsigned char*,
                               const LaneOfInput<Tile>&, int, float (&)[2]) {}

/// Some tiles that follow each other, asked for before they are multiplied.
template <typename Tile, int kTiles>
struct LoadedTiles {
  const unsigned char* from;
  Tile tiles[kTiles];

  __device__ void load(const unsigned char* first, unsigned lane) {
    from = first;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      tiles[i].template load<FromShared>(first + i * Tile::kBytes, lane);
    }
  }
};

/// kTiles tiles of x beside many rows: of weights that are numbers, from shared
/// memory each time.
template <typename Tile, int kTiles>
class InputTiles {
 public:
  __device__ InputTiles(const LaneOfInput<Tile>& input, unsigned lane)
      : input_(input), lane_(lane) {}
  /// acc += the products.
  __device__ void multiply(const LoadedTiles<Tile, kTiles>& loaded,
                           float (&acc)[2]) const {
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      multiply_input(loaded.tiles[i], input_.at(i), acc);
    }
    add_exceptions(loaded.tiles, loaded.from, input_, lane_, acc);
  }

 private:
  LaneOfInput<Tile> input_;
  unsigned lane_;
};

/// acc += the products of kCount tiles, and on to what follows them: their
/// latencies overlap.
template <int kCount, typename Tile>
__device__ void multiply_next(const unsigned char*& tiles,
                              LaneOfInput<Tile>& from, unsigned lane,
                              float (&acc)[2]) {
  LoadedTiles<Tile, kCount> loaded;
  loaded.load(tiles, lane);
  InputTiles<Tile, kCount>(from, lane).multiply(loaded, acc);
  tiles += kCount * Tile::kBytes;
  from = from.at(kCount);
}

/// acc += the products of tiles that follow each other: lanes 4 g + t all have
/// those of rows g and g + 8.
template <typename Tile>
__device__ void multiply_tiles(const unsigned char* tiles,
                               LaneOfInput<Tile> from, int count, unsigned lane,
                               float (&acc)[2]) {
  for (; count >= 2; count -= 2) multiply_next<2>(tiles, from, lane, acc);
  if (count == 1) multiply_next<1>(tiles, from, lane, acc);
}

/// What lanes 4 g + t have, which is the same: of row g if t is even, or else
/// g + 8.
template <typename Tile>
__device__ float sum_of_row(const LaneOfInput<Tile>&, unsigned lane,
                            const float (&acc)[2]) {
  return lane % 2 != 0 ? acc[1] : acc[0];
}

}  // namespace llamlx::cuda
