#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/intrinsics.h"
#include "cuda/matmul/stages.h"

namespace llamlx::cuda {

/// x as make_stages makes it.
struct TestStages {
  OperandStage stage;
  std::vector<Words4> bytes;
  std::vector<float> squares;

  TestStages(const OperandStage& each, int tiles)
      : stage(each),
        bytes(static_cast<std::size_t>(stage.bytes()) * operand_stages(tiles) /
                  16,
              {{~0U, ~0U, ~0U, ~0U}}) {}

  Stages view() {
    return {stage, reinterpret_cast<unsigned char*>(bytes.data())};
  }
  double number(bool is_bf16, int row, int col) {
    double sum = 0;
    for (int plane = 0; plane < stage.planes; ++plane) {
      const auto half = *view().number(plane, row, col);
      sum += is_bf16 ? emulator::from_bf16(half) : emulator::from_f16(half);
    }
    return stage.group == 0 ? sum : sum * *view().scale(row, col);
  }
};

/// A row of `stages` is wanted(col) for columns up to `width`, and zeros: of
/// each tile rounded to parts of the largest, as many bits as the planes have,
/// with the sums of what it was rounded to.
template <typename Wanted>
void expect_row(TestStages& stages, bool is_bf16, int row, int width,
                const Wanted& wanted) {
  const int group = stages.stage.group;
  const double rounding =
      std::pow(is_bf16 ? 0x1p-8 : 0x1p-11, stages.stage.planes) + 0x1p-23;
  for (int first = 0; first < width; first += kTileCols) {
    std::vector<double> values;
    double largest = 0;
    for (int col = first; col < first + kTileCols; ++col) {
      values.push_back(col < width ? wanted(col) : 0);
      largest = std::max(largest, std::abs(values.back()));
    }
    double sum = 0;
    double magnitude = 0;
    for (int i = 0; i < kTileCols; ++i) {
      const int col = first + i;
      const double found = stages.number(is_bf16, row, col);
      ASSERT_NEAR(found, values[static_cast<std::size_t>(i)],
                  largest * rounding)
          << "row " << row << ", column " << col;
      sum += found;
      magnitude += std::abs(found);
      if (group == 0 || (i + 1) % group != 0) continue;
      ASSERT_NEAR(*stages.view().sum(row, col), sum, magnitude * 0x1p-18)
          << "row " << row << ", column " << col;
      sum = magnitude = 0;
    }
  }
}

/// `operands` [cols / 64, rows, 64] in tiles are `values` [rows, cols] rounded
/// to bfloat16: kernels that write either of the same sums.
inline void expect_handed(const std::vector<std::uint16_t>& operands,
                          const std::vector<float>& values, int rows,
                          int cols) {
  for (int row = 0; row < rows; ++row) {
    for (int col = 0; col < cols; ++col) {
      const int at = (col / kTileCols * rows + row) * kTileCols +
                     place_in_row(OperandOrder::tiles, row, col % kTileCols);
      ASSERT_EQ(
          operands[static_cast<std::size_t>(at)],
          emulator::to_bf16(values[static_cast<std::size_t>(row * cols + col)]))
          << "row " << row << ", column " << col;
    }
  }
}

}  // namespace llamlx::cuda
