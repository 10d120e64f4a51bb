#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cpu/matmul/matmul_testing.h"
#include "cpu/packed_bf16/packed_bf16.h"

namespace llamlx {
namespace {

using Case = testing::KernelCase;
using testing::GuardedMemory;
using testing::TestRows;
using testing::TestWeight;

// Every kernel for few rows, with every `compute` it serves.
std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const auto* kernel : all_matmul_kernels()) {
    if (!kernel->name.starts_with("qmv")) continue;
    for (const auto compute :
         {ValueType::f32, ValueType::f16, ValueType::bf16}) {
      const bool any = std::ranges::any_of(
          testing::all_weight_formats(), [&](const auto& format) {
            return kernel->supports(format, 128, compute);
          });
      if (any) cases.push_back({kernel, compute});
    }
  }
  return cases;
}

class QmvTest : public testing::KernelTest {
 protected:
  // Calls `check(format, cols)` for every supported format and these numbers of
  // groups (of columns, when dense).
  template <typename Check>
  void for_each_format(const std::vector<int>& group_counts,
                       const Check& check) {
    const auto [kernel, compute] = GetParam();
    for (const auto& format : testing::all_weight_formats()) {
      for (const int groups : group_counts) {
        const int cols = groups * std::max(1, format.group_size);
        if (!kernel->supports(format, cols, compute)) continue;
        SCOPED_TRACE(
            concat(testing::to_string(format), ", ", cols, " columns"));
        check(format, cols);
        if (HasFatalFailure()) return;
      }
    }
  }

  static int rows_up_to(int rows) {
    return std::min(rows, GetParam().kernel->max_rows);
  }
};

void expect_right(const MatmulKernel& kernel, ValueType compute,
                  const WeightFormat& format, int cols, int rows,
                  int weight_rows) {
  const TestWeight w(format, weight_rows, cols, 1);
  TestRows x(rows, cols, 2);
  testing::expect_product(
      testing::product_by(kernel, w.view(), x.data(), x.stride(), rows), w,
      x.data(), x.stride(), rows, compute);
}

TEST_P(QmvTest, MatchesFloat64ForEveryFormatAndRaggedShape) {
  const auto* kernel = GetParam().kernel;
  const auto compute = GetParam().compute;
  for_each_format({1, 3, 17, 40}, [&](const auto& format, int cols) {
    for (const int weight_rows : {1, 2, 3, 5, 17}) {
      const int rows = rows_up_to(1 + weight_rows % 3 * 3);
      if (rows < kernel->min_rows) continue;
      expect_right(*kernel, compute, format, cols, rows, weight_rows);
    }
  });
}

TEST_P(QmvTest, MatchesFloat64ForDenseRowsOfAnyLength) {
  const auto [kernel, compute] = GetParam();
  for (const auto values : {ValueType::f32, ValueType::f16, ValueType::bf16}) {
    for (const int cols : {1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 65, 577}) {
      if (!kernel->supports({values, 0, 0}, cols, compute)) continue;
      SCOPED_TRACE(concat(testing::to_string(values), " columns ", cols));
      expect_right(*kernel, compute, {values, 0, 0}, cols, rows_up_to(5), 7);
    }
  }
}

TEST_P(QmvTest, TakesEveryNumberOfRowsItPromises) {
  const auto* kernel = GetParam().kernel;
  const auto compute = GetParam().compute;
  for_each_format({5}, [&](const auto& format, int cols) {
    for (int rows = kernel->min_rows; rows <= rows_up_to(19); ++rows) {
      SCOPED_TRACE(concat(rows, " rows"));
      expect_right(*kernel, compute, format, cols, rows, 6);
      if (HasFatalFailure()) return;
    }
  });
}

TEST_P(QmvTest, AnySplitGivesTheSameBits) {
  const auto& kernel = *GetParam().kernel;
  for_each_format({9}, [&](const auto& format, int cols) {
    for (const int rows : {kernel.min_rows, rows_up_to(8)}) {
      const TestWeight w(format, 23, cols, 3);
      TestRows x(rows, cols, 4);
      const auto whole =
          testing::product_by(kernel, w.view(), x.data(), x.stride(), rows);
      for (const int steps : {1, 2, 3}) {
        const auto split =
            testing::product_by(kernel, w.view(), x.data(), x.stride(), rows,
                                {16 * steps, kernel.row_step * steps});
        ASSERT_EQ(split, whole) << rows << " rows, " << steps << " steps";
      }
    }
  });
}

// Weights are packed while a model answers: nobody may see when.
TEST_P(QmvTest, PackedBf16GivesTheBitsOfBf16) {
  const auto& kernel = *GetParam().kernel;
  if (!kernel.supports(kPackedBf16, kPackedCols, GetParam().compute)) {
    GTEST_SKIP() << "does not read it";
  }
  ThreadPool pool(1);
  for (const int weight_rows : {1, 4, 6, 41}) {
    for (const int cols : {64, 192, 640}) {
      const testing::DenseBf16 dense(weight_rows, cols, 5);
      GuardedMemory bands(PackedBf16::band_bytes(dense.view()), 64);
      const auto packed =
          PackedBf16::pack(dense.view(), pool, bands.as<std::byte>());
      ASSERT_NE(packed, nullptr);
      for (int rows = 1; rows <= kernel.max_rows; ++rows) {
        SCOPED_TRACE(concat(rows, " rows by ", weight_rows, " x ", cols));
        TestRows x(rows, cols, 4);
        const auto expected = testing::product_by(kernel, dense.view(),
                                                  x.data(), x.stride(), rows);
        ASSERT_EQ(testing::product_by(kernel, packed->view(), x.data(),
                                      x.stride(), rows),
                  expected);
        ASSERT_EQ(testing::product_by(kernel, packed->view(), x.data(),
                                      x.stride(), rows, {16, kernel.row_step}),
                  expected);
      }
    }
  }
}

// A row's result may not depend on the rows beside it: a sequence gives the
// same tokens in any batch.
TEST_P(QmvTest, ARowGivesTheSameBitsAmongOthers) {
  const auto& kernel = *GetParam().kernel;
  if (kernel.min_rows > 1) GTEST_SKIP() << "never takes one row";
  for_each_format({9}, [&](const auto& format, int cols) {
    const int rows = rows_up_to(8);
    const TestWeight w(format, 6, cols, 3);
    TestRows x(rows, cols, 4);
    const auto all =
        testing::product_by(kernel, w.view(), x.data(), x.stride(), rows);
    for (int i = 0; i < rows; ++i) {
      const auto alone = testing::product_by(
          kernel, w.view(),
          x.data() + static_cast<std::ptrdiff_t>(i) * x.stride(), x.stride(),
          1);
      ASSERT_TRUE(std::equal(alone.begin(), alone.end(), all.begin() + i * 6))
          << i;
    }
  });
}

// What overflowed before must be seen, not rounded to something finite.
TEST_P(QmvTest, WhatIsNotFiniteStaysSo) {
  const auto& kernel = *GetParam().kernel;
  for_each_format({3}, [&](const auto& format, int cols) {
    for (const float bad : {std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
      const TestWeight w(format, 5, cols, 3);
      const int rows = std::max(2, kernel.min_rows);
      std::vector<float> x(static_cast<std::size_t>(rows * cols), 1);
      x[static_cast<std::size_t>(cols - 1)] = bad;
      const auto y =
          testing::product_by(kernel, w.view(), x.data(), cols, rows);
      for (std::size_t n = 0; n < 5; ++n) {
        ASSERT_FALSE(std::isfinite(y[n])) << bad;
        ASSERT_TRUE(std::isfinite(y[5 + n])) << "the row beside " << bad;
      }
    }
  });
}

TEST_P(QmvTest, RowsOfZerosAndOfLargeNumbersAreRight) {
  const auto* kernel = GetParam().kernel;
  const auto compute = GetParam().compute;
  for_each_format({5}, [&](const auto& format, int cols) {
    const int rows = std::max(3, kernel->min_rows);
    const TestWeight w(format, 5, cols, 3);
    std::vector<float> x(static_cast<std::size_t>(rows * cols), 0);
    for (int k = 0; k < cols; ++k) {
      x[static_cast<std::size_t>(cols + k)] =
          k % 2 != 0 ? 1e4f : -9e3f - static_cast<float>(k);
      x[static_cast<std::size_t>(2 * cols + k)] =
          1e-6f * static_cast<float>(k % 7 + 7);
    }
    const auto y = testing::product_by(*kernel, w.view(), x.data(), cols, rows);
    testing::expect_product(y, w, x.data(), cols, rows, compute);
  });
}

double rounded(double number, int bits) {
  int exponent = 0;
  const double fraction = std::frexp(number, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, bits)),
                    exponent - bits);
}

// What MLX's own kernels for CPUs do: weights are made in the type that is
// computed in, and the sum is rounded to it after each term.
TEST_P(QmvTest, IsNoLessExactThanASumOfItsTypeTermByTerm) {
  const auto& kernel = *GetParam().kernel;
  const auto compute = GetParam().compute;
  const int bits = compute == ValueType::f32   ? 24
                   : compute == ValueType::f16 ? 11
                                               : 8;
  for_each_format({8, 16}, [&](const auto& format, int cols) {
    if (cols < 256) return;  // a row of a model has more
    constexpr int kWeightRows = 17;
    const int rows = rows_up_to(8);
    const TestWeight w(format, kWeightRows, cols, 3);
    TestRows random(rows, cols, 4);
    std::vector<float> x;
    for (int i = 0; i < rows * cols; ++i) {
      const std::ptrdiff_t at =
          std::ptrdiff_t{i / cols} * random.stride() + i % cols;
      x.push_back(static_cast<float>(rounded(random.data()[at], bits)));
    }
    const auto y = testing::product_by(kernel, w.view(), x.data(), cols, rows);
    double error = 0;
    double plain_error = 0;
    for (int i = 0; i < rows * kWeightRows; ++i) {
      double exact = 0;
      double sum = 0;
      for (int k = 0; k < cols; ++k) {
        const double value = w.value(i % kWeightRows, k);
        const double factor =
            x[static_cast<std::size_t>(i / kWeightRows * cols + k)];
        exact += value * factor;
        sum = rounded(sum + rounded(rounded(value, bits) * factor, bits), bits);
      }
      error += std::pow(y[static_cast<std::size_t>(i)] - exact, 2);
      plain_error += std::pow(sum - exact, 2);
    }
    // Squares of 136 errors: their sums are known to a tenth or so.
    ASSERT_LE(error, 1.4 * plain_error);
  });
}

// Tensors of a file begin wherever its header ends.
TEST_P(QmvTest, WeightsNeedNoMoreAlignmentThanTheirElement) {
  const auto& kernel = *GetParam().kernel;
  for_each_format({3}, [&](const auto& format, int cols) {
    const TestWeight w(format, 5, cols, 3);
    const int rows = kernel.min_rows;
    TestRows x(rows, cols, 4);
    const auto expected =
        testing::product_by(kernel, w.view(), x.data(), x.stride(), rows);
    const auto moved = [](const void* from, std::size_t bytes,
                          std::size_t element, std::vector<std::byte>& memory) {
      memory.resize(bytes + 128);
      const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
      std::byte* to = memory.data() + (64 - address % 64) + element;
      if (bytes > 0) std::memcpy(to, from, bytes);
      return to;
    };
    auto view = w.view();
    const auto groups = static_cast<std::size_t>(
        format.bits == 0 ? 0 : 5 * cols / format.group_size);
    const std::size_t size = size_of(format.values);
    std::vector<std::byte> data;
    std::vector<std::byte> scales;
    std::vector<std::byte> biases;
    view.data = moved(view.data, 5 * view.row_bytes(),
                      format.bits == 0 ? size : 4, data);
    view.scales = moved(view.scales, groups * size, size, scales);
    view.biases = moved(view.biases, groups * size, size, biases);
    ASSERT_EQ(testing::product_by(kernel, view, x.data(), x.stride(), rows),
              expected);
  });
}

// A scale below float32's normal numbers leaves the bias alone.
TEST_P(QmvTest, SubnormalScalesAreNoTrouble) {
  const auto& kernel = *GetParam().kernel;
  for_each_format({3}, [&](const auto& format, int cols) {
    if (format.bits == 0 || format.values == ValueType::f16) return;
    const TestWeight w(format, 4, cols, 3);
    const auto groups = static_cast<std::size_t>(4 * cols / format.group_size);
    // 1e-40 in both types, and 1 for the biases.
    std::vector<std::uint32_t> scales(groups, 0x000116c2);
    std::vector<std::uint32_t> biases(groups, 0x3f800000);
    std::vector<std::uint16_t> short_scales(groups, 0x0001);
    std::vector<std::uint16_t> short_biases(groups, 0x3f80);
    auto view = w.view();
    const bool is_short = format.values == ValueType::bf16;
    view.scales = is_short ? static_cast<const void*>(short_scales.data())
                           : scales.data();
    view.biases = is_short ? static_cast<const void*>(short_biases.data())
                           : biases.data();
    const int rows = kernel.min_rows;
    const std::vector<float> x(static_cast<std::size_t>(rows * cols), 0.5f);
    for (const float sum :
         testing::product_by(kernel, view, x.data(), cols, rows)) {
      ASSERT_FLOAT_EQ(sum, 0.5f * static_cast<float>(cols));
    }
  });
}

std::string name_of(const ::testing::TestParamInfo<Case>& test) {
  return concat(test.param.kernel->name, "_for_",
                testing::to_string(test.param.compute));
}

INSTANTIATE_TEST_SUITE_P(All, QmvTest, ::testing::ValuesIn(all_cases()),
                         name_of);

}  // namespace
}  // namespace llamlx
