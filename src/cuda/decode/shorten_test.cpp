#include <algorithm>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "cuda/decode/short_testing.h"
#include "cuda/decode/short_tile.h"

namespace llamlx::cuda {
namespace {

using testing::shorten;
using testing::Shortened;

constexpr PackedLayout kBf16{NumberType::bf16, 0, 0};

/// A weight of which nothing is known but its bits; zeros at first.
class Bits {
 public:
  Bits(int rows, int cols) : weight_{kBf16, 0, rows, cols, {}, {}, {}, {}, {}} {
    weight_.data.resize(static_cast<std::size_t>(rows) * cols);
  }

  void set(int row, int col, std::uint16_t bits) { all()[at(row, col)] = bits; }
  void set(int row, int col, double value) {
    set(row, col, emulator::to_bf16(static_cast<float>(value)));
  }
  std::uint16_t get(int row, int col) const {
    return reinterpret_cast<const std::uint16_t*>(
        weight_.data.data())[at(row, col)];
  }
  void fill_normal(float deviation) {
    std::mt19937 random(3);
    std::normal_distribution<float> normal(0, deviation);
    for (int i = 0; i < weight_.rows * weight_.cols; ++i) {
      set(0, i, double{normal(random)});
    }
  }

  Packed packed() const { return pack_weights({&weight_}); }
  int rows() const { return weight_.rows; }
  int cols() const { return weight_.cols; }

 private:
  TestWeight weight_;

  std::uint16_t* all() {
    return reinterpret_cast<std::uint16_t*>(weight_.data.data());
  }
  std::size_t at(int row, int col) const {
    return static_cast<std::size_t>(row) * weight_.cols + col;
  }
};

/// A tile's numbers as lanes find them, with its exceptions.
std::vector<double> read_tile(const Shortened& shortened, std::size_t tile) {
  std::vector<double> values(kTileRows * kTileCols);
  const auto at = [&](int row, int col) -> double& {
    return values.at(static_cast<std::size_t>(row * kTileCols + col));
  };
  for (int lane = 0; lane < kWarpSize; ++lane) {
    ShortBf16Tile held;
    held.load<FromShared>(shortened.tile(tile), lane);
    for (int s = 0; s < 4; ++s) {
      std::uint32_t a[4];
      held.fragment(s, a);
      for (int word = 0; word < 4; ++word) {
        const ShortPlace place(lane, s, word);
        for (int i = 0; i < 2; ++i) {
          at(place.row, place.col + i) =
              double{held.scale} *
              emulator::from_f16(static_cast<std::uint16_t>(a[word] >> 16 * i));
        }
      }
    }
  }
  const auto& header = shortened.header(tile);
  for (int i = 0; i < header.count; ++i) {
    const ShortException its(header.exceptions[i]);
    EXPECT_EQ(at(its.row(), its.col()), 0);
    at(its.row(), its.col()) = double{__uint_as_float(its.float_bits())};
  }
  return values;
}

/// Expects that all tiles could be shortened and that no bit is lost, but for
/// the sign of a zero.
void expect_lossless(const Bits& bits) {
  const auto packed = bits.packed();
  const auto shortened = shorten(packed);
  ASSERT_EQ(shortened.refused, 0U);
  for (int block = 0; block < packed.row_blocks; ++block) {
    for (int tile = 0; tile < packed.tiles; ++tile) {
      const auto values = read_tile(
          shortened, static_cast<std::size_t>(block * packed.tiles + tile));
      for (int i = 0; i < kTileRows * kTileCols; ++i) {
        const int row = block * kTileRows + i / kTileCols;
        const int col = tile * kTileCols + i % kTileCols;
        const bool is_there = row < bits.rows() && col < bits.cols();
        const auto want = is_there ? bits.get(row, col) : std::uint16_t{0};
        ASSERT_EQ(values[static_cast<std::size_t>(i)],
                  double{emulator::from_bf16(want)})
            << row << ", " << col;
      }
    }
  }
}

TEST(Shorten, LosesNothingOfWeights) {
  for (const float deviation : {0.02F, 1e-9F, 3e7F}) {
    Bits bits(37, 160);
    bits.fill_normal(deviation);
    expect_lossless(bits);
  }
}

/// Bits of an operand's words are in no other's way.
TEST(Shorten, EveryPlaceHoldsAllBits) {
  for (unsigned turn = 0; turn < 16; ++turn) {
    Bits bits(kTileRows, kTileCols);
    for (int i = 0; i < kTileRows * kTileCols; ++i) {
      const auto draw =
          (static_cast<unsigned>(i) + 1024 * turn) * 2654435761U >> 7;
      // Exponents from that of 1 on down to the least that has all digits.
      const unsigned exponent = 127 - (draw >> 1) % 15;
      bits.set(0, i,
               static_cast<std::uint16_t>((draw & 1U) << 15 | exponent << 7 |
                                          (draw >> 5 & 0x7fU)));
    }
    bits.set(0, 61 * static_cast<int>(turn), 1.0);
    expect_lossless(bits);
    EXPECT_EQ(shorten(bits.packed()).header(0).count, 0);
  }
}

TEST(Shorten, EveryPlaceMayBeAnException) {
  for (int i = 0; i < kTileRows * kTileCols; ++i) {
    Bits bits(kTileRows, kTileCols);
    bits.set(0, (i + 1) % (kTileRows * kTileCols), 1.5);
    bits.set(0, i, -0x1.8p-40);
    expect_lossless(bits);
    EXPECT_EQ(shorten(bits.packed()).header(0).count, 1);
  }
}

TEST(Shorten, KeepsNumbersOfAllSizes) {
  // Beside a number of 1: the least with all its bits; such as have some, and
  // such as would lose some; the smallest there are.
  const std::map<double, int> exceptions = {
      {1, 0},          {-0x1.fep-14, 0}, {0x1.02p-14, 0}, {-0x1p-21, 0},
      {0x1.04p-15, 0}, {-0x1.02p-15, 1}, {0x1p-22, 1},    {-0x1p-126, 1},
      {0x1p-133, 1},   {-0x1.fcp-127, 1}};
  for (const auto& [value, count] : exceptions) {
    Bits bits(kTileRows, kTileCols);
    bits.set(3, 5, 1.0);
    bits.set(9, 33, value);
    expect_lossless(bits);
    EXPECT_EQ(shorten(bits.packed()).header(0).count, count) << value;
  }
}

TEST(Shorten, KeepsZerosAndTilesOfThem) {
  Bits bits(20, 70);
  expect_lossless(bits);
  for (int i = 0; i < 20 * 70; i += 3) bits.set(0, i, std::uint16_t{0x8000});
  expect_lossless(bits);
  // Beside a zero of either sign.
  bits.set(0, 1, 0.25);
  expect_lossless(bits);
  EXPECT_EQ(shorten(bits.packed()).header(0).count, 0);
}

TEST(Shorten, TakesTilesOfAnyUsualSize) {
  for (const int exponent : {-133, -90, -78, -64, -20, 0, 40, 63}) {
    Bits bits(kTileRows, kTileCols);
    bits.set(7, 7, std::ldexp(1.0, exponent));
    expect_lossless(bits);
  }
  for (const double large : {0x1p64, -0x1p127}) {
    Bits bits(kTileRows, kTileCols);
    bits.set(7, 7, large);
    EXPECT_EQ(shorten(bits.packed()).refused, 1U);
  }
}

TEST(Shorten, RefusesTilesOfTooManyExceptions) {
  for (int count = kMostExceptions - 1; count <= kMostExceptions + 2; ++count) {
    // In neighbouring lanes; in one; anywhere. Two tiles, of which the second
    // has them.
    for (const int step : {8, 1, 67}) {
      Bits bits(kTileRows, 2 * kTileCols);
      bits.set(0, 3, 2.0);
      bits.set(1, kTileCols + 2, 1.0);
      for (int i = 0; i < count; ++i) {
        const int at = 192 + step * i;
        bits.set(at / kTileCols, kTileCols + at % kTileCols,
                 (i % 2 == 0 ? 0x1p-30 : -0x1p-31) * (i + 1));
      }
      if (count > kMostExceptions) {
        EXPECT_EQ(shorten(bits.packed()).refused, 1U) << count << ", " << step;
      } else {
        expect_lossless(bits);
        EXPECT_EQ(shorten(bits.packed()).header(1).count, count);
      }
    }
  }
}

TEST(Shorten, RefusesWhatIsNotFinite) {
  for (const int odd : {0x7f80, 0xff80, 0x7fc0, 0xff81}) {
    Bits bits(2 * kTileRows, 2 * kTileCols);
    bits.fill_normal(1);
    EXPECT_EQ(shorten(bits.packed()).refused, 0U);
    bits.set(18, 5, static_cast<std::uint16_t>(odd));
    bits.set(2, 90, static_cast<std::uint16_t>(odd));
    EXPECT_EQ(shorten(bits.packed()).refused, 2U) << odd;
  }
}

}  // namespace
}  // namespace llamlx::cuda
