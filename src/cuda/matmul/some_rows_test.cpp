#include "cuda/matmul/some_rows.h"

#include <array>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "cuda/intrinsics.h"
#include "cuda/matmul/formats.h"
#include "cuda/matmul/matmul_testing.h"
#include "cuda/matmul/product_testing.h"
#include "cuda/testing.h"

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
      for (const int together : {1, 2, 3}) {
        expect_none_empty(tiles, some_rows_slice(row_blocks, tiles, together,
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
        Want{2048, 8192, 16, 8}, Want{6144, 4096, 4, 4}, Want{4096, 4096, 8, 4},
        Want{28672, 4096, 1, 1}, Want{4096, 14336, 8, 7}}) {
    const int row_blocks = want.rows / kTileRows;
    const int tiles = want.cols / kTileCols;
    EXPECT_EQ(slices_of(tiles, some_rows_slice(row_blocks, tiles,
                                               some_rows_together(1, 4),
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
  expect_bf16_numbers<FloatTile<4, 16>>();
  expect_bf16_numbers<FloatTile<8, 32>>();
}

TEST(SomeRows, Dense) {
  check({.slice = 3,
         .layout = {NumberType::f16, 0, 0},
         .rows = 5,
         .weight_rows = 37,
         .cols = 160});
  check({.slice = 1,
         .layout = {NumberType::bf16, 0, 0},
         .rows = 20,
         .weight_rows = 550,
         .cols = 416,
         .planes = 2,
         .is_normed = true,
         .output = Output::add});
}

TEST(SomeRows, Gated) {
  check({.slice = 1,
         .layout = {NumberType::bf16, 0, 0},
         .rows = 9,
         .weight_rows = 70,
         .cols = 192,
         .is_normed = true,
         .output = Output::swiglu});
  check({.slice = 1,
         .layout = {NumberType::bf16, 4, 64},
         .rows = 33,
         .weight_rows = 70,
         .cols = 320,
         .planes = 3,
         .output = Output::swiglu});
}

class SomeRowsTest : public ::testing::TestWithParam<PackedLayout> {};

TEST_P(SomeRowsTest, EveryFormatMultiplies) {
  for (const int rows : {3, 16, 31, 64}) {
    check({.slice = 2,
           .layout = GetParam(),
           .rows = rows,
           .weight_rows = 120 + rows,
           .cols = 832,
           .is_normed = true});
  }
}

INSTANTIATE_TEST_SUITE_P(All, SomeRowsTest,
                         ::testing::ValuesIn(layouts_of_16_bits()),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

class GpuSomeRowsTest : public ::testing::TestWithParam<PackedLayout> {
 protected:
  void SetUp() override { llamlx::testing::skip_without_warpgroups(); }
};

/// Whole and ragged tiles, stages and clusters, and operands for the next.
void check_some(const std::string& some, const PackedLayout& layout, int rows,
                int most_planes) {
  const ProductCase whole{.slice = 2,
                          .some = some,
                          .layout = layout,
                          .rows = rows,
                          .weight_rows = 120 + rows,
                          .cols = 832,
                          .is_normed = true};
  check(whole);
  auto ragged = whole;
  ragged.slice = 3;
  ragged.weight_rows = 37;
  ragged.cols = layout.group == 64 ? 192 : 160;
  ragged.planes = most_planes;
  ragged.output = Output::add;
  check(ragged);
  auto gated = whole;
  gated.slice = 1;
  gated.cols = 320;
  gated.planes = smaller(most_planes, 2);
  gated.output = Output::swiglu;
  check(gated);
}

TEST_P(GpuSomeRowsTest, EveryFormatMultiplies) {
  for (const int rows : {9, 31, 64}) {
    check_some("some_rows_hopper", GetParam(), rows, rows == 64 ? 1 : 3);
    if (!some_rows_bf16_takes(GetParam(), some_rows_columns(rows))) continue;
    check_some("some_rows_bf16", GetParam(), rows, 1);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuSomeRowsTest,
                         ::testing::ValuesIn(layouts_of_16_bits()),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

}  // namespace
}  // namespace llamlx::cuda
