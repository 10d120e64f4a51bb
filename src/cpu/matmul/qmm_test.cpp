#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cpu/matmul/emulated_tiles.h"
#include "cpu/matmul/matmul_testing.h"

namespace llamlx {
namespace {

using Case = testing::KernelCase;
using testing::TestRows;
using testing::TestWeight;

struct Shape {
  int rows;  // of x
  int weight_rows;
  int cols;  // in groups, of a quantised weight
};

// Every kernel for many rows, with the strictest that it may compute.
std::vector<Case> all_cases() {
  auto kernels = all_matmul_kernels();
  std::erase_if(kernels, [](const auto* kernel) {
    return !kernel->name.starts_with("qmm");
  });
#if defined(__x86_64__)
  kernels.push_back(&qmm_amx_emulated);
  kernels.push_back(&qmm_f16_amx_emulated);
#endif
  std::vector<Case> cases;
  for (const auto* kernel : kernels) {
    for (const auto compute :
         {ValueType::f32, ValueType::f16, ValueType::bf16}) {
      if (kernel->supports({ValueType::bf16, 4, 64}, 128, compute)) {
        cases.push_back({kernel, compute});
        break;
      }
    }
  }
  return cases;
}

class QmmTest : public testing::KernelTest {
 protected:
  // Calls `check(format, rows, weight_rows, cols)` for what the kernel says it
  // supports.
  template <typename Check>
  void for_each(const std::vector<Shape>& shapes, const Check& check) {
    for (const auto& format : testing::all_weight_formats()) {
      for (const auto& shape : shapes) {
        const int cols = shape.cols * std::max(1, format.group_size);
        const auto [kernel, compute] = GetParam();
        if (!kernel->supports(format, cols, compute)) continue;
        SCOPED_TRACE(concat(testing::to_string(format), ": [", shape.rows, ", ",
                            cols, "] x [", shape.weight_rows, ", ", cols, "]"));
        check(format, shape.rows, shape.weight_rows, cols);
        if (HasFatalFailure()) return;
      }
    }
  }
};

// Numbers of columns of a dense weight; groups of a quantised one. Blocks of
// 256 and 512 columns are crossed, and end in the middle.
TEST_P(QmmTest, MatchesFloat64ForEveryFormatAndRaggedShape) {
  const auto check = [](const WeightFormat& format, int rows, int weight_rows,
                        int cols) {
    const auto [kernel, compute] = GetParam();
    const TestWeight w(format, weight_rows, cols, 1);
    TestRows x(rows, cols, 2);
    testing::expect_product(
        testing::product_by(*kernel, w.view(), x.data(), x.stride(), rows), w,
        x.data(), x.stride(), rows, compute);
  };
  for_each({{1, 1, 1}, {3, 17, 3}, {16, 32, 5}, {21, 70, 9}, {37, 33, 11}},
           check);
}

TEST_P(QmmTest, MatchesFloat64ForDenseRowsOfAnyLength) {
  for (int cols = 1; cols < 70; ++cols) {
    for (const auto values :
         {ValueType::f32, ValueType::f16, ValueType::bf16}) {
      const auto [kernel, compute] = GetParam();
      const TestWeight w({values, 0, 0}, 19, 8 * cols - 7, 1);
      TestRows x(9, 8 * cols - 7, 2);
      SCOPED_TRACE(
          concat(testing::to_string(values), " columns ", 8 * cols - 7));
      testing::expect_product(
          testing::product_by(*kernel, w.view(), x.data(), x.stride(), 9), w,
          x.data(), x.stride(), 9, compute);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(QmmTest, TakesAnyNumberOfRows) {
  const auto [kernel, compute] = GetParam();
  const TestWeight w({ValueType::bf16, 4, 64}, 41, 192, 1);
  for (int rows = 1; rows <= 67; ++rows) {
    TestRows x(rows, 192, 2);
    SCOPED_TRACE(rows);
    testing::expect_product(
        testing::product_by(*kernel, w.view(), x.data(), x.stride(), rows), w,
        x.data(), x.stride(), rows, compute);
    if (HasFatalFailure()) return;
  }
}

TEST_P(QmmTest, AnySplitGivesTheSameBits) {
  const auto check = [](const WeightFormat& format, int rows, int weight_rows,
                        int cols) {
    const auto& kernel = *GetParam().kernel;
    const TestWeight w(format, weight_rows, cols, 3);
    TestRows x(rows, cols, 4);
    const auto whole =
        testing::product_by(kernel, w.view(), x.data(), x.stride(), rows);
    for (const int steps : {1, 2, 3}) {
      const auto split =
          testing::product_by(kernel, w.view(), x.data(), x.stride(), rows,
                              {16 * steps, kernel.row_step * steps});
      ASSERT_EQ(split, whole) << steps;
    }
  };
  for_each({{50, 100, 5}}, check);
}

// A row's result may not depend on the rows beside it: a sequence gives the
// same tokens in any batch.
TEST_P(QmmTest, ARowGivesTheSameBitsAmongOthers) {
  const auto& kernel = *GetParam().kernel;
  const TestWeight w({ValueType::bf16, 4, 64}, 70, 640, 3);
  TestRows x(33, 640, 4);
  const auto all =
      testing::product_by(kernel, w.view(), x.data(), x.stride(), 33);
  for (int i = 0; i < 33; ++i) {
    const auto alone = testing::product_by(
        kernel, w.view(),
        x.data() + static_cast<std::ptrdiff_t>(i) * x.stride(), x.stride(), 1);
    ASSERT_TRUE(std::equal(alone.begin(), alone.end(),
                           all.begin() + static_cast<std::ptrdiff_t>(i) * 70))
        << i;
  }
}

// What overflowed before must be seen, not rounded to something finite.
TEST_P(QmmTest, WhatIsNotFiniteStaysSo) {
  for_each({{18, 40, 3}}, [](const WeightFormat& format, int rows,
                             int weight_rows, int cols) {
    for (const float bad : {std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
      const TestWeight w(format, weight_rows, cols, 3);
      std::vector<float> x(static_cast<std::size_t>(rows * cols), 1);
      x[static_cast<std::size_t>(17 * cols - 1)] = bad;
      const auto y = testing::product_by(*GetParam().kernel, w.view(), x.data(),
                                         cols, rows);
      for (std::size_t i = 0; i < y.size(); ++i) {
        const bool is_bad = i / static_cast<std::size_t>(weight_rows) == 16;
        ASSERT_EQ(std::isfinite(y[i]), !is_bad) << bad;
      }
    }
  });
}

std::string name_of(const ::testing::TestParamInfo<Case>& tested) {
  return concat(tested.param.kernel->name, "_for_",
                testing::to_string(tested.param.compute));
}

INSTANTIATE_TEST_SUITE_P(All, QmmTest, ::testing::ValuesIn(all_cases()),
                         name_of);

}  // namespace
}  // namespace llamlx
