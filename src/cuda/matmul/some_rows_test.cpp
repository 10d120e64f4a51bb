#include "cuda/matmul/some_rows.h"

#include <array>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "cuda/intrinsics.h"
#include "cuda/matmul/matmul_testing.h"
#include "cuda/matmul/weight_tile.h"

namespace llamlx::cuda {
namespace {

constexpr std::array<int, 8> kClusters = {264, 132, 79, 62, 47, 39, 32, 30};
constexpr int kMultiprocessors = 132;

int slices_of(int tiles, int slice) {
  return ceil_div(operand_stages(tiles), slice);
}

void expect_none_empty(int tiles, int slice) {
  ASSERT_GT(slice, 0);
  const int slices = slices_of(tiles, slice);
  EXPECT_LT((slices - 1) * slice, operand_stages(tiles)) << tiles;
}

TEST(SomeRowsSlice, NoneIsEmpty) {
  for (const int row_blocks : {1, 8, 36, 96, 384, 1792, 8016}) {
    for (int tiles = 1; tiles < 240; ++tiles) {
      for (const int columns : {1, 2, 4, 8}) {
        expect_none_empty(tiles, some_rows_slice(row_blocks, tiles, columns,
                                                 kMultiprocessors));
      }
      const int slice = some_rows_hopper_slice(row_blocks, tiles, kClusters,
                                               kMultiprocessors);
      expect_none_empty(tiles, slice);
      EXPECT_LE(slices_of(tiles, slice), 8);
    }
  }
}

/// What whole passes of an H200 wanted, of the 1B's and the 8B's weights.
TEST(SomeRowsSlice, IsAsPassesWant) {
  struct Want {
    int rows;
    int cols;
    int slices;
    int cluster;
  };
  for (const auto& want :
       {Want{3072, 2048, 8, 4}, Want{2048, 2048, 8, 8}, Want{16384, 2048, 1, 2},
        Want{2048, 8192, 16, 8}, Want{6144, 4096, 8, 4}, Want{4096, 4096, 8, 4},
        Want{28672, 4096, 2, 1}, Want{4096, 14336, 14, 7}}) {
    const int row_blocks = want.rows / kTileRows;
    const int tiles = want.cols / kTileCols;
    EXPECT_EQ(slices_of(tiles, some_rows_slice(row_blocks, tiles, 1,
                                               kMultiprocessors)),
              want.slices)
        << want.rows << " x " << want.cols;
    EXPECT_EQ(
        slices_of(tiles, some_rows_hopper_slice(row_blocks, tiles, kClusters,
                                                kMultiprocessors)),
        want.cluster)
        << want.rows << " x " << want.cols;
  }
}

TEST(SomeRowsSlice, IsOneWhereClustersDoNotRun) {
  EXPECT_EQ(some_rows_hopper_slice(128, 64, {}, kMultiprocessors), 16);
}

/// Every number of a tile, as bfloat16, where a fragment has it.
template <typename Tile>
void expect_bf16_numbers() {
  std::mt19937 random(3);
  const auto layout = Tile::layout();
  const auto w =
      random_weight(layout, layout.group, kTileRows, kTileCols, random);
  const auto packed = pack_weights({&w});
  for (int lane = 0; lane < kWarpSize; ++lane) {
    Tile tile;
    tile.template load<FromGlobal>(packed.data(), lane);
    for (int s = 0; s < 4; ++s) {
      std::uint32_t a[4];
      tile.bf16_numbers(s, a);
      for (int i = 0; i < 8; ++i) {
        const int row = lane / 4 + i / 2 % 2 * 8;
        const int col =
            32 * (s / 2) + 8 * (lane % 4) + 4 * (s % 2) + i / 4 * 2 + i % 2;
        const auto half = static_cast<std::uint16_t>(a[i / 2] >> (i % 2 * 16));
        const double value =
            w.values[static_cast<std::size_t>(row * kTileCols + col)];
        // Half a unit of the last place, and what float32 took off before.
        ASSERT_NEAR(unpack(Bf16{}, half), value,
                    std::abs(value) * (0x1p-8 + 0x1p-20))
            << to_string(layout) << ", row " << row << ", column " << col;
      }
    }
  }
}

TEST(WeightTile, HasNumbersOfBfloat16) {
  expect_bf16_numbers<DenseTile<Bf16>>();
  expect_bf16_numbers<AffineTile<2, 32, Bf16>>();
  expect_bf16_numbers<AffineTile<3, 64, Bf16>>();
  expect_bf16_numbers<AffineTile<4, 32, Bf16>>();
  expect_bf16_numbers<AffineTile<4, 64, Bf16>>();
  expect_bf16_numbers<AffineTile<5, 32, Bf16>>();
  expect_bf16_numbers<AffineTile<6, 64, Bf16>>();
}

}  // namespace
}  // namespace llamlx::cuda
