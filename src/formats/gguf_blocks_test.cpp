#include "formats/gguf_blocks.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/types/half_types.h>

#include "base/concat.h"
#include "base/testing.h"
#include "formats/gguf_testing.h"

namespace llamlx {
namespace {

using testing::error_of;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using testing::raw;
using testing::TemporaryFolder;

constexpr int kBlock = 32;

/// What a float16 stands for, from its definition.
double half_value(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  const double size = exponent == 0
                          ? std::ldexp(fraction, -24)
                          : std::ldexp(1024 + fraction, exponent - 25);
  return bits & 0x8000 ? -size : size;
}

std::uint16_t half_at(const std::string& bytes, std::size_t at) {
  std::uint16_t bits;
  std::memcpy(&bits, bytes.data() + at, sizeof(bits));
  return bits;
}

/// GGML's formulas, one value at a time.
double expected_value(GgmlType type, const std::string& bytes, int index) {
  const auto block = static_cast<std::size_t>(index / kBlock);
  const auto i = static_cast<std::size_t>(index % kBlock);
  const auto nibble = [&](std::size_t integers) {
    const auto byte =
        static_cast<unsigned char>(bytes[integers + (i < 16 ? i : i - 16)]);
    return i < 16 ? byte & 15 : byte >> 4;
  };
  if (type == GgmlType::q4_0) {
    const auto at = block * 18;
    return half_value(half_at(bytes, at)) * (nibble(at + 2) - 8);
  }
  if (type == GgmlType::q4_1) {
    const auto at = block * 20;
    return half_value(half_at(bytes, at)) * nibble(at + 4) +
           half_value(half_at(bytes, at + 2));
  }
  const auto at = block * 34;
  return half_value(half_at(bytes, at)) *
         static_cast<signed char>(bytes[at + 2 + i]);
}

/// Blocks of random scales (of every finite size up to `largest_exponent`) and
/// random integers.
std::string random_blocks(GgmlType type, std::size_t count,
                          int largest_exponent) {
  std::mt19937 random(17);
  const auto bits = [&](int number) {
    return static_cast<std::uint32_t>(random()) >> (32 - number);
  };
  const auto half = [&] {
    const auto exponent = random() % static_cast<unsigned>(largest_exponent);
    return raw(
        static_cast<std::uint16_t>(bits(1) << 15 | exponent << 10 | bits(10)));
  };
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) {
    bytes += half();
    if (type == GgmlType::q4_1) bytes += half();
    const int integers = type == GgmlType::q8_0 ? 32 : 16;
    for (int k = 0; k < integers; ++k) bytes += static_cast<char>(bits(8));
  }
  return bytes;
}

std::vector<float> values_of(const Weight& weight) {
  auto dense = mx::contiguous(dequantize(weight, mx::float32));
  dense.eval();
  return {dense.data<float>(), dense.data<float>() + dense.size()};
}

class GgufBlocksTest : public ::testing::Test {
 protected:
  Weight read(const std::vector<std::uint64_t>& dimensions, GgmlType type,
              const std::string& bytes,
              std::span<const std::int32_t> row_order = {}) {
    GgufBuilder builder;
    builder.add("t", dimensions, type, bytes);
    const GgufFile file(folder_.write("model.gguf", builder.bytes()));
    const auto& tensor = *file.find("t");
    return read_gguf_weight(file, tensor, gguf_weight_format(file, tensor),
                            row_order);
  }

  TemporaryFolder folder_;
};

struct QuantizedCase {
  const char* name;
  GgmlType type;
  int bits;
  int largest_exponent;
  mx::Dtype dtype;
};

class QuantizedGgufBlocksTest
    : public GgufBlocksTest,
      public ::testing::WithParamInterface<QuantizedCase> {};

TEST_P(QuantizedGgufBlocksTest, HoldsExactlyTheValuesOfGgml) {
  const auto& param = GetParam();
  const auto bytes = random_blocks(param.type, 6 * 3, param.largest_exponent);
  const auto weight = read({96, 6}, param.type, bytes);
  EXPECT_EQ(weight.shape(), (mx::Shape{6, 96}));
  EXPECT_EQ(weight.data.dtype(), mx::uint32);
  EXPECT_EQ(weight.dtype(), param.dtype);
  EXPECT_EQ(weight.biases->dtype(), param.dtype);
  EXPECT_EQ(weight.quantization, (Quantization{param.bits, 32}));
  const auto values = values_of(weight);
  ASSERT_EQ(values.size(), 6u * 96);
  for (int i = 0; i < 6 * 96; ++i) {
    const auto expected =
        static_cast<float>(expected_value(param.type, bytes, i));
    ASSERT_EQ(values[static_cast<std::size_t>(i)], expected) << i;
  }
}

// Scales of 2^14 and more make biases no float16 holds.
INSTANTIATE_TEST_SUITE_P(
    Types, QuantizedGgufBlocksTest,
    ::testing::Values(
        QuantizedCase{"Q4_0", GgmlType::q4_0, 4, 28, mx::float16},
        QuantizedCase{"Q4_0_large", GgmlType::q4_0, 4, 31, mx::float32},
        QuantizedCase{"Q4_1", GgmlType::q4_1, 4, 31, mx::float16},
        QuantizedCase{"Q8_0", GgmlType::q8_0, 8, 24, mx::float16},
        QuantizedCase{"Q8_0_large", GgmlType::q8_0, 8, 31, mx::float32}),
    [](const auto& test) { return test.param.name; });

TEST_F(GgufBlocksTest, PacksAsMlxDoes) {
  const auto bytes = random_blocks(GgmlType::q8_0, 4, 16);
  const auto weight = read({64, 2}, GgmlType::q8_0, bytes);
  const auto* packed = weight.data.data<std::uint32_t>();
  for (int i = 0; i < 128; ++i) {
    const auto at = static_cast<std::size_t>(i / 32 * 34 + 2 + i % 32);
    const int q = static_cast<signed char>(bytes[at]) + 128;
    EXPECT_EQ(static_cast<int>(packed[i / 4] >> (8 * (i % 4)) & 255), q);
  }
}

TEST_F(GgufBlocksTest, KeepsDenseTypesBitForBit) {
  std::string bytes;
  for (int i = 0; i < 48; ++i) bytes += static_cast<char>(7 * i + 3);
  const struct {
    GgmlType type;
    mx::Dtype dtype;
    std::uint64_t width;
  } cases[] = {{GgmlType::f32, mx::float32, 4},
               {GgmlType::f16, mx::float16, 8},
               {GgmlType::bf16, mx::bfloat16, 8}};
  for (const auto& each : cases) {
    const auto weight = read({each.width, 3}, each.type, bytes);
    EXPECT_FALSE(weight.quantization);
    EXPECT_EQ(weight.data.dtype(), each.dtype);
    EXPECT_EQ(weight.shape(), (mx::Shape{3, static_cast<int>(each.width)}));
    EXPECT_EQ(std::string(weight.data.data<char>(), 48), bytes);
  }
}

TEST_F(GgufBlocksTest, PutsRowsIntoTheOrderAskedFor) {
  const std::vector<std::int32_t> order = {2, 0, 3, 1};
  for (const auto type : {GgmlType::q4_0, GgmlType::q4_1, GgmlType::q8_0}) {
    const auto bytes = random_blocks(type, 8, 16);
    const auto plain = values_of(read({64, 4}, type, bytes));
    const auto ordered = values_of(read({64, 4}, type, bytes, order));
    for (std::size_t row = 0; row < 4; ++row) {
      for (std::size_t i = 0; i < 64; ++i) {
        const auto from = static_cast<std::size_t>(order[row]);
        EXPECT_EQ(ordered[row * 64 + i], plain[from * 64 + i]);
      }
    }
  }
  const auto dense = read({1, 4}, GgmlType::f32,
                          raw(0.f) + raw(1.f) + raw(2.f) + raw(3.f), order);
  EXPECT_THAT(values_of(dense), ::testing::ElementsAre(2, 0, 3, 1));
  EXPECT_THROW(read({1, 3}, GgmlType::f32, std::string(12, '\0'), order),
               std::invalid_argument);
}

TEST_F(GgufBlocksTest, ExpandsQuantisedVectors) {
  std::vector<std::int32_t> order(64);
  std::iota(order.rbegin(), order.rend(), 0);
  for (const auto type : {GgmlType::q4_0, GgmlType::q4_1, GgmlType::q8_0}) {
    const auto bytes = random_blocks(type, 2, 31);
    const auto weight = read({64}, type, bytes, order);
    EXPECT_FALSE(weight.quantization);
    const auto values = values_of(weight);
    for (int i = 0; i < 64; ++i) {
      EXPECT_EQ(values[static_cast<std::size_t>(63 - i)],
                static_cast<float>(expected_value(type, bytes, i)));
    }
  }
}

TEST_F(GgufBlocksTest, RefusesScalesThatAreNotFinite) {
  for (const std::uint16_t odd : {0x7c00, 0xfc00, 0x7e00}) {
    for (const auto type : {GgmlType::q4_0, GgmlType::q4_1, GgmlType::q8_0}) {
      auto bytes = random_blocks(type, 2, 16);
      const auto at = bytes.size() / 2 + (type == GgmlType::q4_1 ? 2 : 0);
      bytes.replace(at, 2, raw(odd));
      EXPECT_THAT(error_of(ErrorCode::corrupt_file,
                           [&] {
                             read({32, 2}, type, bytes);
                           }),
                  HasSubstr("tensor t has a scale that is not finite"));
    }
  }
}

TEST_F(GgufBlocksTest, RefusesOtherTypesByName) {
  const auto q6_k = static_cast<GgmlType>(14);
  EXPECT_THAT(error_of(ErrorCode::unsupported,
                       [&] {
                         read({256, 1}, q6_k, std::string(210, 'x'));
                       }),
              HasSubstr("model.gguf: tensor t is stored as Q6_K, which is not "
                        "supported; use a GGUF in Q4_0, Q4_1, Q8_0, F16, BF16 "
                        "or F32"));
}

}  // namespace
}  // namespace llamlx
