#include "cpu/packed_bf16/packed_bf16.h"

#include <bit>
#include <cstdint>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cpu/aligned_buffer.h"
#include "cpu/matmul/matmul_testing.h"

namespace llamlx {
namespace {

using testing::DenseBf16;

/// One value of a packed weight, as the layout says it is found.
std::uint16_t value_at(const WeightView& w, int row, int col) {
  const int band = row / kPackedRows;
  const int r = row % kPackedRows;
  const int piece = col / kPackedCols;
  const int c = col % kPackedCols;
  const auto& rest = *w.rest;
  const auto number = static_cast<std::uint32_t>(piece * kPackedRows + r);
  const auto first = rest.first[band];
  for (auto i = first; rest.untold[i] != UINT32_MAX; ++i) {
    if (rest.untold[i] != number) continue;
    return rest.values[(i - static_cast<std::uint32_t>(band)) * kPackedCols +
                       static_cast<std::uint32_t>(c)];
  }
  const auto* at =
      static_cast<const std::uint8_t*>(w.data) +
      static_cast<std::ptrdiff_t>(band * (w.cols / kPackedCols) + piece) *
          kPackedBytes;
  const auto* codes = at + std::ptrdiff_t{32} * r;
  const auto* low = at + 128 + std::ptrdiff_t{64} * r;
  const int place = c < 32 ? c / 8 * 16 + c % 8 : (c - 32) / 8 * 16 + 8 + c % 8;
  const int code = place < 32 ? codes[place] & 15 : codes[place - 32] >> 4;
  return static_cast<std::uint16_t>(rest.tops[code] << 8 | low[place]);
}

void expect_same_bits(const DenseBf16& dense, const WeightView& packed) {
  for (int row = 0; row < packed.rows; ++row) {
    for (int col = 0; col < packed.cols; ++col) {
      ASSERT_EQ(value_at(packed, row, col), dense.at(row, col))
          << "row " << row << ", column " << col;
    }
  }
}

TEST(PackedBf16, KeepsEveryBit) {
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    for (const int rows : {1, 3, 4, 5, 64, 131}) {
      for (const int cols : {64, 192, 576}) {
        SCOPED_TRACE(concat(rows, " rows, ", cols, " columns"));
        const DenseBf16 dense(rows, cols, 7);
        ASSERT_TRUE(PackedBf16::takes(dense.view()));
        AlignedBuffer bands;
        const auto packed = PackedBf16::pack(
            dense.view(), pool,
            bands.reserve(PackedBf16::band_bytes(dense.view())));
        ASSERT_NE(packed, nullptr);
        expect_same_bits(dense, packed->view());
      }
    }
  }
}

TEST(PackedBf16, KeepsNumbersOfEveryKind) {
  DenseBf16 dense(64, 128, 7);
  const std::vector<std::uint16_t> odd{0x0000, 0x8000, 0x0001, 0x7f80,
                                       0xff80, 0x7fc1, 0xffff, 0x0080};
  for (std::size_t i = 0; i < odd.size(); ++i) {
    dense.set(static_cast<int>(i) * 5, 3 + static_cast<int>(i), odd[i]);
  }
  ThreadPool pool(1);
  AlignedBuffer bands;
  const auto packed = PackedBf16::pack(
      dense.view(), pool, bands.reserve(PackedBf16::band_bytes(dense.view())));
  ASSERT_NE(packed, nullptr);
  expect_same_bits(dense, packed->view());
}

TEST(PackedBf16, HasACodeForZerosWhereThereAreMany) {
  DenseBf16 dense(64, 256, 7);
  for (int i = 0; i < 64 * 256; i += 50) dense.set(i / 256, i % 256, 0);
  ThreadPool pool(1);
  AlignedBuffer bands;
  const auto packed = PackedBf16::pack(
      dense.view(), pool, bands.reserve(PackedBf16::band_bytes(dense.view())));
  ASSERT_NE(packed, nullptr);
  expect_same_bits(dense, packed->view());
  EXPECT_LE(static_cast<double>(packed->nbytes()), 1.6 * 64 * 256);
}

TEST(PackedBf16, LeavesWeightsOfManyExponents) {
  DenseBf16 dense(16, 64, 7);
  std::mt19937 random(1);
  for (int row = 0; row < 16; ++row) {
    for (int col = 0; col < 64; ++col) {
      dense.set(row, col, static_cast<std::uint16_t>(random()));
    }
  }
  ThreadPool pool(1);
  AlignedBuffer bands;
  EXPECT_EQ(
      PackedBf16::pack(dense.view(), pool,
                       bands.reserve(PackedBf16::band_bytes(dense.view()))),
      nullptr);
}

TEST(PackedBf16, TakesWholePiecesOfBf16) {
  const DenseBf16 dense(4, 96, 7);
  EXPECT_FALSE(PackedBf16::takes(dense.view()));
  auto view = DenseBf16(4, 128, 7).view();
  EXPECT_TRUE(PackedBf16::takes(view));
  view.format.values = ValueType::f16;
  EXPECT_FALSE(PackedBf16::takes(view));
  view.format = {ValueType::bf16, 4, 64};
  EXPECT_FALSE(PackedBf16::takes(view));
}

TEST(PackedBf16, IsThreeQuartersAndALittle) {
  const DenseBf16 dense(512, 2048, 7);
  ThreadPool pool(2);
  AlignedBuffer bands;
  const auto packed = PackedBf16::pack(
      dense.view(), pool, bands.reserve(PackedBf16::band_bytes(dense.view())));
  ASSERT_NE(packed, nullptr);
  const double values = 512.0 * 2048;
  EXPECT_GE(static_cast<double>(packed->nbytes()), 1.5 * values);
  EXPECT_LE(static_cast<double>(packed->nbytes()), 1.54 * values);
}

}  // namespace
}  // namespace llamlx
