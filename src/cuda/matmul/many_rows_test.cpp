#include "cuda/matmul/many_rows.h"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/matmul/operands.h"
#include "cuda/matmul/product_testing.h"
#include "cuda/testing.h"

namespace llamlx::cuda {
namespace {

TEST(ManyRows, Dense) {
  check({.layout = {NumberType::f16, 0, 0},
         .rows = 130,
         .weight_rows = 37,
         .cols = 160});
  check({.layout = {NumberType::bf16, 0, 0},
         .rows = 20,
         .weight_rows = 150,
         .cols = 416,
         .planes = 2,
         .is_normed = true,
         .output = Output::add});
}

TEST(ManyRows, Gated) {
  check({.layout = {NumberType::bf16, 0, 0},
         .rows = 9,
         .weight_rows = 70,
         .cols = 64,
         .is_normed = true,
         .output = Output::swiglu});
  check({.layout = {NumberType::f16, 4, 64},
         .rows = 9,
         .weight_rows = 70,
         .cols = 128,
         .planes = 2,
         .output = Output::swiglu});
}

class GpuManyRowsTest : public ::testing::TestWithParam<PackedLayout> {
 protected:
  void SetUp() override { llamlx::testing::skip_without_warpgroups(); }
};

/// Three blocks for all pieces, odd and even numbers of steps, ragged edges.
TEST_P(GpuManyRowsTest, EveryFormatMultiplies) {
  for (const int tokens : {128, 256}) {
    const ProductCase whole{.tokens = tokens,
                            .layout = GetParam(),
                            .rows = 2 * tokens,
                            .weight_rows = 160,
                            .cols = 320,
                            .is_normed = true};
    check(whole);
    auto ragged = whole;
    ragged.rows = tokens + 77;
    ragged.weight_rows = 285;
    ragged.cols = GetParam().group == 64 ? 192 : 160;
    ragged.planes = 2;
    ragged.output = Output::add;
    check(ragged);
    auto gated = whole;
    gated.rows = 90;
    gated.weight_rows = 150;
    gated.cols = 64;
    gated.output = Output::swiglu;
    check(gated);
    gated.rows = tokens + 39;
    gated.weight_rows = 192;
    check(gated);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuManyRowsTest,
                         ::testing::ValuesIn(layouts_of_16_bits()),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

/// Numbers that say where they come from, in every order.
TEST(Operands, LieAsTheirOrderSays) {
  constexpr int kRows = 11;
  constexpr int kCols = 160;
  constexpr int kStride = 192;
  std::vector<float> x(kRows * kCols);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 997);
  const auto make = [&](OperandOrder order) {
    std::vector<std::uint16_t> out(std::size_t{2} * kRows * kStride, 0xffff);
    std::vector<float> scales(kRows);
    emulate("make_operands_f16",
            {.grid_x = kRows, .block = kOperandThreads, .shared_bytes = 256},
            OperandArgs{x.data(), kRows, kCols, kStride, nullptr, kProductEps,
                        2, order, out.data(), scales.data()});
    return out;
  };
  const auto rows = make(OperandOrder::rows);
  const auto tiles = make(OperandOrder::tiles);
  const auto fragments = make(OperandOrder::fragments);
  for (int plane = 0; plane < 2; ++plane) {
    for (int row = 0; row < kRows; ++row) {
      for (int col = 0; col < kStride; ++col) {
        const auto expected = rows[static_cast<std::size_t>(
            (plane * kRows + row) * kStride + col)];
        const auto in_tile = [&](int at) {
          const int tile = (plane * kStride / 64 + col / 64) * kRows + row;
          return static_cast<std::size_t>(tile * 64 +
                                          ((at / 8) ^ (row % 8)) * 8 + at % 8);
        };
        ASSERT_EQ(tiles[in_tile(col % 64)], expected);
        // Of 16 columns of a step, lane t of four multiplies 2 t, 2 t + 1,
        // 8 + 2 t and 9 + 2 t, where a fragment has four that follow each other
        // of 32 (s / 2) + 8 t + 4 (s % 2).
        const int step = col % 64 / 32 * 2 + col % 8 / 4;
        const int lane = col % 32 / 8;
        const int at = 16 * step + 2 * lane + col % 2 + col % 4 / 2 * 8;
        ASSERT_EQ(fragments[in_tile(at)], expected) << row << ", " << col;
      }
    }
  }
}

class ExpandTest : public ::testing::TestWithParam<PackedLayout> {};

TEST_P(ExpandTest, EveryFormatMultiplies) {
  check({.layout = GetParam(), .rows = 10, .weight_rows = 20, .cols = 128});
}

INSTANTIATE_TEST_SUITE_P(All, ExpandTest, ::testing::ValuesIn(code_layouts()),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

}  // namespace
}  // namespace llamlx::cuda
