#pragma once

#include "cuda/decode/tiles.h"

/// Products of tiles of codes, four groups at once.
///
/// The matrix unit multiplies by eight columns, of which x takes two. Here x
/// beside group j has columns 2 j and 2 j + 1, of four groups that follow each
/// other, and of what a group's codes are multiplied by, its own two columns
/// are looked at. Lane 4 g + j has those, of rows g and g + 8: each lane scales
/// the sums of one group, and x is read once for all four.

namespace llamlx::cuda {

/// Of kTiles tiles that follow each other, of up to four groups.
template <typename Tile, int kTiles>
class CodeProducts {
  using Scales = TileScales<typename Tile::Scales, 1>;
  static constexpr int kGroups = kTiles * Tile::kGroups;
  static constexpr int kRuns = 2;  // of a tile
  static constexpr int kRunsAGroup = kRuns / Tile::kGroups;

  /// This lane's of a group of x, of both its runs if it has two.
  struct Operand {
    std::uint32_t words[2 * kRunsAGroup];
  };

 public:
  /// What a lane has of x: of a group's operand, and of a group whose sums it
  /// scales.
  struct Held {
    Operand operand;
    InputGroup group;
  };
  __device__ static Held hold(const LaneOfInput<Tile>& input, unsigned lane) {
    return {load_x(input, smaller(static_cast<int>(lane / 8), kGroups - 1)),
            input.groups[group_of(lane)]};
  }
  /// acc += this lane's part of the products. Scales come from where the tiles
  /// do.
  __device__ static void add(const Tile* tiles, const unsigned char* from,
                             const Held& x, unsigned lane, float (&acc)[2]) {
    int sums[kGroups][4] = {};
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      multiply(tiles[i], x.operand, sums + i * Tile::kGroups);
    }
    scale(from, x.group, lane, sums, acc);
  }

 private:
  static __device__ Operand load_x(const LaneOfInput<Tile>& input, int group) {
    Operand x;
    const auto* from = input.at(group / Tile::kGroups).x;
    if constexpr (Tile::kGroups == 1) {
      const auto words = *reinterpret_cast<const Words4*>(from);
      for (int i = 0; i < 4; ++i) x.words[i] = words.w[i];
    } else {
      const auto words =
          reinterpret_cast<const Words2*>(from)[group % Tile::kGroups];
      for (int i = 0; i < 2; ++i) x.words[i] = words.w[i];
    }
    return x;
  }

  /// Of each of a tile's groups.
  static __device__ void multiply(const Tile& tile, const Operand& x,
                                  int (*sums)[4]) {
    if constexpr (InputSpace<Tile>::kHasPairs) {
      multiply_pairs(tile, x, *sums);
    } else {
      multiply_runs(tile, x, sums);
    }
  }
  static __device__ void multiply_runs(const Tile& tile, const Operand& x,
                                       int (*sums)[4]) {
#pragma unroll
    for (int run = 0; run < kRuns; ++run) {
      const std::uint32_t a[4] = {
          tile.code_bytes(0, 2 * run), tile.code_bytes(1, 2 * run),
          tile.code_bytes(0, 2 * run + 1), tile.code_bytes(1, 2 * run + 1)};
      const int at = run % kRunsAGroup * 2;
      const std::uint32_t b[2] = {x.words[at], x.words[at + 1]};
      multiply_add_bytes(sums[run / kRunsAGroup], a, b);
    }
  }

  /// Codes of the lower halves of bytes, and whole bytes (decode_has_pairs()).
  static __device__ void multiply_pairs(const Tile& tile, const Operand& x,
                                        int (&sums)[4]) {
    int low[4] = {};
    const std::uint32_t codes[4] = {
        tile.code_bytes(0, 0), tile.code_bytes(1, 0), tile.code_bytes(0, 2),
        tile.code_bytes(1, 2)};
    multiply_add_bytes(low, codes, {x.words[0], x.words[1]});
    const std::uint32_t pairs[4] = {tile.low[0], tile.low[1], tile.low[2],
                                    tile.low[3]};
    multiply_add_bytes(sums, pairs, {x.words[2], x.words[3]});
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[i] += 16 * low[i];
  }

  static __device__ int group_of(unsigned lane) {
    return smaller(static_cast<int>(lane % 4), kGroups - 1);
  }
  /// Adds the sums of a lane's group, if it has one, by its scales and x's.
  static __device__ void scale(const unsigned char* tiles,
                               const InputGroup& its, unsigned lane,
                               const int (&sums)[kGroups][4], float (&acc)[2]) {
    const bool has_one = lane % 4 < kGroups;
    const int group = group_of(lane);
    Scales scales;
    scales.template load<FromShared>(
        tiles + group / Tile::kGroups * Tile::kBytes +
            codes_bytes(Tile::layout().bits),
        static_cast<int>(lane / 4) * Tile::kGroups + group % Tile::kGroups);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int high = of_group(sums, group, 2 * half);
      const int low = of_group(sums, group, 2 * half + 1);
      const auto whole = static_cast<float>(high * 256 + low);
      float sum = fmaf(scales.get(0, half, 0), whole * its.scale, acc[half]);
      sum = fmaf(scales.get(0, half, 1), its.sum, sum);
      acc[half] = has_one ? sum : acc[half];
    }
  }
  static __device__ int of_group(const int (&sums)[kGroups][4], int group,
                                 int which) {
    const auto either = [&](int first) {
      if (first + 1 >= kGroups) return sums[kGroups - 1][which];
      return (group & 1) == 0 ? sums[first][which] : sums[first + 1][which];
    };
    return (group & 2) == 0 ? either(0) : either(2);
  }
};

/// acc += the products of so many tiles, and on to what follows them.
template <int kCount, int kBits, int kGroup, typename T>
__device__ void multiply_next(const unsigned char*& tiles,
                              LaneOfInput<AffineTile<kBits, kGroup, T>>& input,
                              unsigned lane, float (&acc)[2]) {
  using Tile = AffineTile<kBits, kGroup, T>;
  using Products = CodeProducts<Tile, kCount>;
  LoadedTiles<Tile, kCount> loaded;
  loaded.load(tiles, lane);
  Products::add(loaded.tiles, tiles, Products::hold(input, lane), lane, acc);
  tiles += kCount * Tile::kBytes;
  input = input.at(kCount);
}

/// acc += the products of tiles that follow each other: lanes 4 g + t have
/// parts of those of rows g and g + 8.
template <int kBits, int kGroup, typename T>
__device__ void multiply_tiles(const unsigned char* tiles,
                               LaneOfInput<AffineTile<kBits, kGroup, T>> input,
                               int count, unsigned lane, float (&acc)[2]) {
  constexpr int kAtOnce = kGroup / 16;  // of four groups
#pragma unroll 1
  for (; count >= kAtOnce; count -= kAtOnce) {
    multiply_next<kAtOnce>(tiles, input, lane, acc);
  }
  if (kAtOnce > 2 && (count & 2) != 0)
    multiply_next<2>(tiles, input, lane, acc);
  if ((count & 1) != 0) multiply_next<1>(tiles, input, lane, acc);
}

/// Some tiles of x, which a lane holds beside all rows of codes.
template <int kBits, int kGroup, typename T, int kTiles>
class InputTiles<AffineTile<kBits, kGroup, T>, kTiles> {
  using Tile = AffineTile<kBits, kGroup, T>;
  static constexpr int kAtOnce = kGroup / 16;
  using Products = CodeProducts<Tile, kAtOnce>;

 public:
  __device__ InputTiles(const LaneOfInput<Tile>& input, unsigned lane)
      : lane_(lane) {
#pragma unroll
    for (int i = 0; i < kTiles / kAtOnce; ++i) {
      held_[i] = Products::hold(input.at(i * kAtOnce), lane);
    }
  }
  /// acc += the products.
  __device__ void multiply(const LoadedTiles<Tile, kTiles>& loaded,
                           float (&acc)[2]) const {
#pragma unroll
    for (int i = 0; i < kTiles / kAtOnce; ++i) {
      Products::add(loaded.tiles + i * kAtOnce,
                    loaded.from + i * kAtOnce * Tile::kBytes, held_[i], lane_,
                    acc);
    }
  }

 private:
  unsigned lane_;
  typename Products::Held held_[kTiles / kAtOnce];
};

/// What lanes 4 g + t have, added up: of row g if t is even, or else g + 8.
template <int kBits, int kGroup, typename T>
__device__ float sum_of_row(const LaneOfInput<AffineTile<kBits, kGroup, T>>&,
                            unsigned lane, const float (&acc)[2]) {
  const bool is_second = lane % 2 != 0;
  const float mine = is_second ? acc[1] : acc[0];
  const float other = is_second ? acc[0] : acc[1];
  const float sum = mine + __shfl_xor_sync(kAllLanes, other, 1);
  return sum + __shfl_xor_sync(kAllLanes, sum, 2);
}

}  // namespace llamlx::cuda
