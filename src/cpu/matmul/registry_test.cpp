#include "cpu/matmul/registry.h"

#include <algorithm>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/testing.h"
#include "cpu/matmul/kernel_list.h"
#include "cpu/matmul/matmul_testing.h"

namespace llamlx {
namespace {

constexpr WeightFormat kFormat{ValueType::bf16, 4, 64};

// The scalar kernel, but for one sum that is a little off, or no number.
void multiply_almost(const WeightView& w, const void* prepared, int rows,
                     const WeightRun& run, void* scratch, float* y,
                     int y_stride) {
  qmv_scalar.multiply(w, prepared, rows, run, scratch, y, y_stride);
  y[(rows - 1) * y_stride + run.end - run.begin - 1] += 2;
}
void multiply_to_nan(const WeightView& w, const void* prepared, int rows,
                     const WeightRun& run, void* scratch, float* y,
                     int y_stride) {
  qmv_scalar.multiply(w, prepared, rows, run, scratch, y, y_stride);
  y[0] = std::numeric_limits<float>::quiet_NaN();
}

MatmulKernel scalar_with(decltype(MatmulKernel::multiply) multiply) {
  MatmulKernel kernel = qmv_scalar;
  kernel.multiply = multiply;
  return kernel;
}

TEST(MatmulRegistry, PassesOverKernelsThatAreWrong) {
  const auto almost = scalar_with(multiply_almost);
  const auto nan = scalar_with(multiply_to_nan);
  MatmulRegistry registry({&almost, &nan, &qmv_scalar}, Isa::scalar);
  EXPECT_EQ(&registry.find(kFormat, 128, ValueType::bf16, 1), &qmv_scalar);
  const auto notes = registry.notes();
  ASSERT_EQ(notes.size(), 3u);
  EXPECT_EQ(notes[0].kernel, &almost);
  EXPECT_FALSE(notes[0].is_right);
  EXPECT_FALSE(notes[1].is_right);
  EXPECT_NE(notes[1].fault.find("gave nan for "), std::string::npos)
      << notes[1].fault;
  EXPECT_TRUE(notes[2].is_right);
  EXPECT_EQ(notes[2].fault, "");
  EXPECT_EQ(notes[2].format, kFormat);
}

TEST(MatmulRegistry, TellsWhatServesAFormatAndWhatWouldIfItWereRight) {
  auto almost = scalar_with(multiply_almost);
  almost.max_rows = 1;
  MatmulRegistry registry({&almost, &qmv_scalar, &qmm_scalar}, Isa::scalar);
  registry.find(kFormat, 128, ValueType::f32, 1);
  const auto serving = registry.serving(kFormat, 128, ValueType::bf16);
  EXPECT_EQ(serving.one_row, &qmv_scalar);
  EXPECT_EQ(serving.many_rows, &qmm_scalar);
  ASSERT_EQ(serving.wrong.size(), 1u);
  EXPECT_EQ(serving.wrong[0].kernel, &almost);
  EXPECT_EQ(serving.wrong[0].compute, ValueType::bf16);

  MatmulRegistry no_right({&almost}, Isa::scalar);
  const auto nothing = no_right.serving(kFormat, 128, ValueType::bf16);
  EXPECT_EQ(nothing.one_row, nullptr);
  EXPECT_EQ(nothing.many_rows, nullptr);
}

TEST(MatmulRegistry, SaysWhenNoKernelIsRight) {
  const auto almost = scalar_with(multiply_almost);
  MatmulRegistry registry({&almost}, Isa::scalar);
  const auto message = testing::error_of(ErrorCode::unsupported, [&] {
    registry.find(kFormat, 128, ValueType::f32, 1);
  });
  EXPECT_NE(message.find("4-bit weights in groups of 64"), std::string::npos)
      << message;
}

TEST(MatmulRegistry, ProvesAKernelOnceForAFormat) {
  MatmulRegistry registry({&qmv_scalar}, Isa::scalar);
  for (int i = 0; i < 3; ++i) {
    registry.find(kFormat, 128 * (i + 1), ValueType::bf16, i + 1);
  }
  EXPECT_EQ(registry.notes().size(), 1u);
  registry.find(kFormat, 128, ValueType::f32, 1);
  EXPECT_EQ(registry.notes().size(), 2u);
}

TEST(MatmulRegistry, AsksNoKernelForWhatItDoesNotDo) {
  MatmulKernel few = qmv_scalar;
  few.max_rows = 4;
  MatmulKernel none = qmv_scalar;
  none.supports = [](const WeightFormat&, int, ValueType) { return false; };
  MatmulKernel beyond = qmv_scalar;
  beyond.isa = Isa::avx2;
  MatmulRegistry registry({&none, &beyond, &few, &qmv_scalar}, Isa::scalar);
  EXPECT_EQ(&registry.find(kFormat, 128, ValueType::bf16, 4), &few);
  EXPECT_EQ(&registry.find(kFormat, 128, ValueType::bf16, 5), &qmv_scalar);
}

TEST(MatmulRegistry, ThreadsFindTheSameKernel) {
  MatmulRegistry registry(all_matmul_kernels(), active_isa());
  std::vector<const MatmulKernel*> found(4);
  std::vector<std::thread> threads;
  for (auto& kernel : found) {
    threads.emplace_back([&registry, &kernel] {
      kernel = &registry.find(kFormat, 2048, ValueType::bf16, 1);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(std::ranges::count(found, found[0]), 4);
}

// Every machine computes every format with any number of rows, and no kernel it
// runs is wrong.
TEST(MatmulRegistry, ServesEveryFormat) {
  for (const auto& format : testing::all_weight_formats()) {
    for (const auto compute :
         {ValueType::f32, ValueType::f16, ValueType::bf16}) {
      for (const int rows : {1, 8, 300}) {
        const auto& kernel = matmul_kernel(format, 384, compute, rows);
        EXPECT_TRUE(is_supported(kernel.isa));
      }
    }
  }
  const auto packed = serving_kernels(kPackedBf16, 384, ValueType::bf16);
  EXPECT_EQ(packed.one_row == nullptr, active_isa() == Isa::scalar);
  EXPECT_EQ(packed.many_rows, nullptr);
  for (const auto& note : matmul_kernel_notes()) {
    EXPECT_TRUE(note.is_right)
        << note.kernel->name << ", " << testing::to_string(note.format) << ", "
        << testing::to_string(note.compute);
  }
}

}  // namespace
}  // namespace llamlx
