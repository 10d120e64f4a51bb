#include "cpu/quantize/float_codes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "cpu/quantize/e4m3.h"

namespace llamlx {
namespace {

/// A number of a sign, exponent and fraction, from the definition of such.
double number_of(unsigned code, int exponent_bits, int fraction_bits) {
  const unsigned ones = (1U << exponent_bits) - 1;
  const int exponent = static_cast<int>(code >> fraction_bits & ones);
  const int fraction = static_cast<int>(code & ((1U << fraction_bits) - 1));
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int whole = exponent == 0 ? 0 : 1 << fraction_bits;
  const double size = std::ldexp(whole + fraction,
                                 std::max(exponent, 1) - bias - fraction_bits);
  return code >> (exponent_bits + fraction_bits) != 0 ? -size : size;
}

double e2m1(unsigned code) { return number_of(code, 2, 1); }
double e4m3(unsigned code) { return number_of(code, 4, 3); }
double bf16(unsigned bits) { return number_of(bits, 8, 7); }
double power(unsigned scale) {
  return std::ldexp(1, static_cast<int>(scale) - 127);
}

bool is_nan_in_8_bits(unsigned code) { return (code & 0x7f) == 0x7f; }

unsigned half_of_byte(const std::vector<std::uint8_t>& bytes, int i) {
  return bytes[static_cast<std::size_t>(i / 2)] >> (i % 2 * 4) & 15U;
}

/// A byte for each value there is, so many times over.
std::vector<std::uint8_t> all_bytes(int times) {
  std::vector<std::uint8_t> bytes;
  for (int i = 0; i < 256 * times; ++i) {
    bytes.push_back(static_cast<std::uint8_t>(i * 7));
  }
  return bytes;
}

TEST(E4m3Test, IsReadByItsDefinition) {
  for (unsigned code = 0; code < 256; ++code) {
    const float value = from_e4m3(static_cast<std::uint8_t>(code));
    if (is_nan_in_8_bits(code)) {
      EXPECT_TRUE(std::isnan(value));
    } else {
      EXPECT_EQ(value, e4m3(code)) << code;
    }
  }
}

TEST(E4m3Test, TheNearestIsTaken) {
  for (unsigned code = 0; code < 0x7e; ++code) {
    const double low = e4m3(code), high = e4m3(code + 1);
    const auto middle = static_cast<float>((low + high) / 2);
    const auto below = std::nextafter(middle, 0.0F);
    const auto above = std::nextafter(middle, 500.0F);
    EXPECT_EQ(to_e4m3(static_cast<float>(low)), code);
    EXPECT_EQ(to_e4m3(below), code);
    EXPECT_EQ(to_e4m3(middle), code + code % 2) << "ties go to even";
    EXPECT_EQ(to_e4m3(above), code + 1);
    EXPECT_EQ(to_e4m3(-above), 0x80 | (code + 1));
  }
  EXPECT_EQ(to_e4m3(1e30F), 0x7e);
  EXPECT_EQ(to_e4m3(-std::numeric_limits<float>::infinity()), 0xfe);
}

TEST(FloatCodesTest, Mxfp4IsAffineWithoutLoss) {
  constexpr int kGroups = 252;  // of scales whose affine codes are finite
  const auto codes = all_bytes(16);
  const auto scales = all_bytes(1);
  std::vector<std::uint8_t> data(kGroups * 20);
  std::vector<std::uint16_t> halves(kGroups), biases(kGroups);
  for (int group = 0; group < kGroups; ++group) {
    const auto at = static_cast<std::size_t>(group);
    const auto scale = static_cast<std::uint8_t>(group);
    mxfp4_as_affine(&codes[at * 16], &scale, 1,
                    {&data[at * 20], &halves[at], &biases[at]});
    for (int i = 0; i < kMxGroup; ++i) {
      const auto bit = static_cast<std::size_t>(5 * i);
      const std::size_t byte = at * 20 + bit / 8;
      const unsigned next = bit / 8 < 19 ? data[byte + 1] : 0U;
      const unsigned q = (data[byte] | next << 8) >> (bit % 8) & 31U;
      EXPECT_EQ(bf16(halves[at]) * q + bf16(biases[at]),
                e2m1(half_of_byte(codes, group * kMxGroup + i)) * power(scale))
          << group << ' ' << i;
    }
  }
}

TEST(FloatCodesTest, Mxfp8IsExactInBf16) {
  const auto codes = all_bytes(32);
  std::vector<std::uint16_t> out(codes.size());
  // Of all scales those that neither run over nor below what bf16 has.
  std::vector<std::uint8_t> scales;
  for (int i = 0; i < 256; ++i) {
    scales.push_back(static_cast<std::uint8_t>(10 + i % 230));
  }
  mxfp8_as_bf16(codes.data(), scales.data(), 256, out.data());
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (is_nan_in_8_bits(codes[i])) continue;
    EXPECT_EQ(bf16(out[i]), e4m3(codes[i]) * power(scales[i / kMxGroup])) << i;
  }
}

TEST(FloatCodesTest, Nvfp4IsExactInBf16) {
  const auto codes = all_bytes(8);
  const auto scales = all_bytes(1);
  std::vector<std::uint16_t> out(codes.size() * 2);
  nvfp4_as_bf16(codes.data(), scales.data(), 256, out.data());
  for (int i = 0; i < 256 * kNvGroup; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const unsigned scale = scales[at / kNvGroup];
    if (is_nan_in_8_bits(scale)) continue;
    EXPECT_EQ(bf16(out[at]), e2m1(half_of_byte(codes, i)) * e4m3(scale)) << i;
  }
}

/// What a group of float32 becomes.
struct Packed {
  std::uint8_t scale = 0;
  std::array<std::uint8_t, 32> codes{};
  Finiteness finiteness{};
};

Packed packed(QuantizeNumbers quantize, const std::vector<float>& values,
              ValueType type = ValueType::f32) {
  Packed result;
  result.finiteness = quantize(values.data(), ValueType::f32, type, 1,
                               {result.codes.data(), &result.scale, nullptr});
  return result;
}

TEST(QuantizeNumbersTest, NumbersThatThereAreStayWhatTheyAre) {
  std::vector<float> values;
  for (unsigned code = 0; code < 32; ++code) {
    values.push_back(static_cast<float>(e2m1(code % 16)) / 4);
  }
  const auto mx = packed(quantize_mxfp4, values);
  EXPECT_EQ(mx.scale, 127 - 2);
  const auto nv = packed(quantize_nvfp4, values);
  EXPECT_EQ(nv.scale, to_e4m3(0.25F));
  for (unsigned i = 0; i < 16; ++i) {
    // There is one 0: it has no sign.
    const unsigned expected = i == 8 ? 0 : i;
    EXPECT_EQ(mx.codes[i / 2] >> (i % 2 * 4) & 15, expected);
    EXPECT_EQ(nv.codes[i / 2] >> (i % 2 * 4) & 15, expected);
  }
  for (unsigned i = 0; i < 32; ++i) {
    values[i] = static_cast<float>(e4m3(0x5f + i)) * 8;
  }
  const auto eight = packed(quantize_mxfp8, values);
  EXPECT_EQ(eight.scale, 127 + 3);
  for (unsigned i = 0; i < 32; ++i) EXPECT_EQ(eight.codes[i], 0x5f + i);
}

TEST(QuantizeNumbersTest, ZerosAreZeros) {
  const std::vector<float> zeros(32);
  for (const auto quantize : {quantize_mxfp4, quantize_mxfp8, quantize_nvfp4}) {
    const auto result = packed(quantize, zeros);
    EXPECT_EQ(result.codes, Packed{}.codes);
    EXPECT_TRUE(result.finiteness.source && result.finiteness.result);
  }
}

TEST(QuantizeNumbersTest, TellWhatIsNotFinite) {
  std::vector<float> values(32, 1e6F);
  for (const auto quantize : {quantize_mxfp4, quantize_mxfp8, quantize_nvfp4}) {
    const auto half = packed(quantize, values, ValueType::f16).finiteness;
    EXPECT_TRUE(half.source);
    EXPECT_FALSE(half.result);
    for (const float odd : {std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::quiet_NaN()}) {
      auto spoilt = values;
      spoilt[11] = odd;
      EXPECT_FALSE(packed(quantize, spoilt).finiteness.source);
    }
  }
}

}  // namespace
}  // namespace llamlx
