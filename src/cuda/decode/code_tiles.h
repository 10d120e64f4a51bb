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

template <typename Tile>
class CodeProducts {
 public:
  static constexpr int kGroupsAtOnce = 4;
  static constexpr int kTilesAtOnce = kGroupsAtOnce / Tile::kGroups;

  __device__ CodeProducts(const LaneOfInput<Tile>& input, int lane)
      : input_(input), lane_(lane) {}

  /// acc += this lane's part of the products of so many tiles, up to
  /// kTilesAtOnce, from `col` on.
  __device__ void add(const unsigned char* tiles, int col, int count,
                      float (&acc)[2]) const {
    const auto input = input_.at(col);
    const int groups = count * Tile::kGroups;
    int sums[kGroupsAtOnce][4] = {};
    const auto x = load_x(input, smaller(lane_ / 8, groups - 1));
#pragma unroll
    for (int i = 0; i < kTilesAtOnce; ++i) {
      multiply(tiles + smaller(i, count - 1) * Tile::kBytes, x,
               sums + i * Tile::kGroups);
    }
    const int group = lane_ % 4;
    if (group < groups) scale(tiles, input, group, sums, acc);
  }

 private:
  using Scales = TileScales<typename Tile::Scales, 1>;
  static constexpr int kRuns = 2;  // of a tile
  static constexpr int kRunsAGroup = kRuns / Tile::kGroups;

  /// This lane's of a group of x, of both its runs if it has two.
  struct Operand {
    std::uint32_t words[2 * kRunsAGroup];
  };

  const LaneOfInput<Tile>& input_;
  int lane_;

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
  __device__ void multiply(const unsigned char* from, const Operand& x,
                           int (*sums)[4]) const {
    Tile tile;
    tile.template load<FromShared>(from, lane_);
#pragma unroll
    for (int run = 0; run < kRuns; ++run) {
      const std::uint32_t a[4] = {
          tile.code_bytes(0, 2 * run), tile.code_bytes(1, 2 * run),
          tile.code_bytes(0, 2 * run + 1), tile.code_bytes(1, 2 * run + 1)};
      const int of_group = run % kRunsAGroup * 2;
      const std::uint32_t b[2] = {x.words[of_group], x.words[of_group + 1]};
      multiply_add_bytes(sums[run / kRunsAGroup], a, b);
    }
  }

  /// Adds the sums of a group, by its scales and x's.
  __device__ void scale(const unsigned char* tiles,
                        const LaneOfInput<Tile>& input, int group,
                        const int (&sums)[kGroupsAtOnce][4],
                        float (&acc)[2]) const {
    Scales scales;
    scales.template load<FromShared>(
        tiles + group / Tile::kGroups * Tile::kBytes +
            codes_bytes(Tile::layout().bits),
        lane_ / 4 * Tile::kGroups + group % Tile::kGroups);
    const auto its = input.groups[group];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int whole =
          of_group(sums, group, 2 * half) * 256 + of_group(sums, group, 2 * half + 1);
      acc[half] = fmaf(scales.get(0, half, 0),
                       static_cast<float>(whole) * its.scale, acc[half]);
      acc[half] = fmaf(scales.get(0, half, 1), its.sum, acc[half]);
    }
  }
  static __device__ int of_group(const int (&sums)[kGroupsAtOnce][4], int group,
                                 int which) {
    const int low = (group & 1) == 0 ? sums[0][which] : sums[1][which];
    const int high = (group & 1) == 0 ? sums[2][which] : sums[3][which];
    return (group & 2) == 0 ? low : high;
  }
};

/// acc += the products of tiles that follow each other: lanes 4 g + t have
/// parts of those of rows g and g + 8.
template <int kBits, int kGroup, typename T>
__device__ void multiply_tiles(
    const unsigned char* tiles,
    const LaneOfInput<AffineTile<kBits, kGroup, T>>& input, int count, int lane,
    float (&acc)[2]) {
  using Tile = AffineTile<kBits, kGroup, T>;
  using Products = CodeProducts<Tile>;
  constexpr int kAtOnce = Products::kTilesAtOnce;
  // Their latencies overlap.
  constexpr int kUnrolled =
      decode_stage_tiles(Tile::kBytes) >= 2 * kAtOnce ? 2 : 1;
  const Products products(input, lane);
  int done = 0;
  for (; count - done >= kUnrolled * kAtOnce; done += kUnrolled * kAtOnce) {
#pragma unroll
    for (int i = 0; i < kUnrolled; ++i) {
      const int at = done + i * kAtOnce;
      products.add(tiles + at * Tile::kBytes, at, kAtOnce, acc);
    }
  }
#pragma unroll 1
  for (; done < count; done += kAtOnce) {
    products.add(tiles + done * Tile::kBytes, done,
                 smaller(count - done, kAtOnce), acc);
  }
}

/// The sum of what lanes 4 g + t have.
template <int kBits, int kGroup, typename T>
__device__ float sum_of_lanes(const LaneOfInput<AffineTile<kBits, kGroup, T>>&,
                              float acc) {
  acc += __shfl_xor_sync(kAllLanes, acc, 1);
  return acc + __shfl_xor_sync(kAllLanes, acc, 2);
}

}  // namespace llamlx::cuda
