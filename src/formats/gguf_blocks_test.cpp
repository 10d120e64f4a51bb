#include "formats/gguf_blocks.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
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

/// One block, and GGML's formulas for its values, one at a time.
class BlockFormulas {
 public:
  BlockFormulas(GgmlType type, std::string bytes)
      : type_(type), bytes_(std::move(bytes)) {}

  double value(int i) const {
    switch (type_) {
      case GgmlType::q4_0:
        return half(0) * (nibble(2, i) - 8);
      case GgmlType::q4_1:
        return half(0) * nibble(4, i) + half(2);
      case GgmlType::q5_0:
        return half(0) * (nibble(6, i) + 16 * bit(2, i) - 16);
      case GgmlType::q5_1:
        return half(0) * (nibble(8, i) + 16 * bit(4, i)) + half(2);
      case GgmlType::q8_0:
        return half(0) * static_cast<signed char>(byte(2 + i));
      case GgmlType::q2_k:
        return half(80) * (byte(i / 16) & 15) * pair(16, i) -
               half(82) * (byte(i / 16) >> 4);
      case GgmlType::q3_k: {
        const int third = byte(i % 32) >> (i / 32) & 1;
        return half(108) * (scale_3(i / 16) - 32) *
               (pair(32, i) - (third ? 0 : 4));
      }
      case GgmlType::q4_k:
        return half(0) * scale(i / 32) * nibble_k(16, i) -
               half(2) * offset(i / 32);
      case GgmlType::q5_k: {
        const int fifth = byte(16 + i % 32) >> (i / 32) & 1;
        return half(0) * scale(i / 32) * (nibble_k(48, i) + 16 * fifth) -
               half(2) * offset(i / 32);
      }
      case GgmlType::q6_k: {
        const int within = i % 128;
        const int low = byte(i / 128 * 64 + within % 64);
        const int four = within < 64 ? low & 15 : low >> 4;
        return half(208) * static_cast<signed char>(byte(192 + i / 16)) *
               (four + 16 * pair(128, i) - 32);
      }
      default:
        throw std::logic_error("no such type");
    }
  }

 private:
  int byte(int at) const {
    return static_cast<unsigned char>(bytes_[static_cast<std::size_t>(at)]);
  }
  double half(int at) const {
    return half_value(half_at(bytes_, static_cast<std::size_t>(at)));
  }
  int bit(int from, int i) const { return byte(from + i / 8) >> (i % 8) & 1; }
  int nibble(int from, int i) const {
    return i < 16 ? byte(from + i) & 15 : byte(from + i - 16) >> 4;
  }
  int nibble_k(int from, int i) const {
    const int both = byte(from + i / 64 * 32 + i % 32);
    return i % 64 < 32 ? both & 15 : both >> 4;
  }
  int pair(int from, int i) const {
    const int four = byte(from + i / 128 * 32 + i % 32);
    return four / (1 << (i % 128 / 32 * 2)) % 4;
  }
  int scale(int g) const {
    if (g < 4) return byte(4 + g) % 64;
    return byte(8 + g) % 16 + byte(g) / 64 * 16;
  }
  int offset(int g) const {
    if (g < 4) return byte(8 + g) % 64;
    return byte(8 + g) / 16 + byte(4 + g) / 64 * 16;
  }
  int scale_3(int g) const {
    const int four = g < 8 ? byte(96 + g) % 16 : byte(88 + g) / 16;
    return four + byte(104 + g % 4) / (1 << (g / 4 * 2)) % 4 * 16;
  }

  GgmlType type_;
  std::string bytes_;
};

const GgmlTypeInfo& info_of(GgmlType type) {
  return *find_ggml_type(static_cast<std::uint32_t>(type));
}

double expected_value(GgmlType type, const std::string& bytes, int index) {
  const auto& info = info_of(type);
  const auto size = static_cast<std::size_t>(info.block_bytes);
  const auto block = static_cast<std::size_t>(index / info.block_size);
  return BlockFormulas(type, bytes.substr(block * size, size))
      .value(index % info.block_size);
}

/// Where the float16 of a block lie.
std::vector<std::size_t> halves_of(GgmlType type) {
  switch (type) {
    case GgmlType::q4_1:
    case GgmlType::q5_1:
    case GgmlType::q4_k:
    case GgmlType::q5_k:
      return {0, 2};
    case GgmlType::q2_k:
      return {80, 82};
    case GgmlType::q3_k:
      return {108};
    case GgmlType::q6_k:
      return {208};
    default:
      return {0};
  }
}

/// Blocks of random scales (of every finite size below `largest_exponent`, the
/// first one just below) and random integers.
std::string random_blocks(GgmlType type, std::size_t count,
                          int largest_exponent) {
  std::mt19937 random(17);
  const auto bits = [&](int number) {
    return static_cast<std::uint32_t>(random()) >> (32 - number);
  };
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) {
    const auto begin = bytes.size();
    for (int k = 0; k < info_of(type).block_bytes; ++k) {
      bytes += static_cast<char>(bits(8));
    }
    for (const auto at : halves_of(type)) {
      const auto most = static_cast<unsigned>(largest_exponent);
      const auto exponent = i == 0 ? most - 1 : random() % most;
      bytes.replace(begin + at, 2,
                    raw(static_cast<std::uint16_t>(bits(1) << 15 |
                                                   exponent << 10 | bits(10))));
    }
  }
  return bytes;
}

std::vector<float> values_of(const Weight& weight) {
  auto dense = mx::contiguous(dequantize(weight, mx::float32));
  dense.eval();
  return {dense.data<float>(), dense.data<float>() + dense.size()};
}

constexpr GgmlType kQuantizedTypes[] = {
    GgmlType::q4_0, GgmlType::q4_1, GgmlType::q5_0, GgmlType::q5_1,
    GgmlType::q8_0, GgmlType::q2_k, GgmlType::q3_k, GgmlType::q4_k,
    GgmlType::q5_k, GgmlType::q6_k};

class GgufBlocksTest : public ::testing::Test {
 protected:
  Weight read(const std::vector<std::uint64_t>& dimensions, GgmlType type,
              const std::string& bytes,
              std::span<const std::int32_t> row_order = {}) {
    GgufBuilder builder;
    builder.add("t", dimensions, type, bytes);
    const GgufFile file(folder_.write("model.gguf", builder.bytes()));
    const auto& tensor = *file.find("t");
    auto weight = read_gguf_weight(file, tensor, row_order);
    const auto told = gguf_weight_format(file, tensor);
    EXPECT_EQ(weight.dtype(), told.dtype);
    EXPECT_EQ(weight.quantization, told.quantization);
    return weight;
  }

  TemporaryFolder folder_;
};

struct QuantizedCase {
  const char* name;
  GgmlType type;
  int bits;
  int largest_exponent;
};

class QuantizedGgufBlocksTest
    : public GgufBlocksTest,
      public ::testing::WithParamInterface<QuantizedCase> {};

/// How far the values of each group may be from GGML's: a scale and a bias of
/// float16 have 11 bits, or are a multiple of 2^-24.
std::vector<double> rounding_of(const Weight& weight) {
  const auto wide = [](const mx::array& values) {
    auto result = mx::contiguous(mx::astype(values, mx::float32));
    result.eval();
    return result;
  };
  const auto scales = wide(*weight.scales);
  const auto biases = wide(*weight.biases);
  const double codes = (1 << weight.quantization->bits) - 1;
  std::vector<double> rounding;
  for (std::size_t group = 0; group < scales.size(); ++group) {
    const double sum = codes * std::abs(double{scales.data<float>()[group]}) +
                       std::abs(double{biases.data<float>()[group]});
    rounding.push_back(std::ldexp(sum, -11) + std::ldexp(codes + 1, -25));
  }
  return rounding;
}

TEST_P(QuantizedGgufBlocksTest, HoldsExactlyTheValuesOfGgml) {
  const auto& param = GetParam();
  const auto bytes = random_blocks(param.type, 18, param.largest_exponent);
  const auto weight = read({96, 6}, param.type, bytes);
  EXPECT_EQ(weight.shape(), (mx::Shape{6, 96}));
  EXPECT_EQ(weight.data.dtype(), mx::uint32);
  EXPECT_EQ(weight.dtype(), mx::float16);
  EXPECT_EQ(weight.biases->dtype(), mx::float16);
  EXPECT_EQ(weight.quantization, (Quantization{param.bits, 32}));
  const auto values = values_of(weight);
  ASSERT_EQ(values.size(), 6u * 96);
  for (int i = 0; i < 6 * 96; ++i) {
    const auto expected =
        static_cast<float>(expected_value(param.type, bytes, i));
    ASSERT_EQ(values[static_cast<std::size_t>(i)], expected) << i;
  }
}

// Larger scales make biases that no float16 holds.
INSTANTIATE_TEST_SUITE_P(
    Types, QuantizedGgufBlocksTest,
    ::testing::Values(QuantizedCase{"Q4_0", GgmlType::q4_0, 4, 28},
                      QuantizedCase{"Q4_1", GgmlType::q4_1, 4, 31},
                      QuantizedCase{"Q5_0", GgmlType::q5_0, 5, 27},
                      QuantizedCase{"Q5_1", GgmlType::q5_1, 5, 31},
                      QuantizedCase{"Q8_0", GgmlType::q8_0, 8, 24}),
    [](const auto& test) { return test.param.name; });

class KQuantGgufBlocksTest : public QuantizedGgufBlocksTest {};

TEST_P(KQuantGgufBlocksTest, HoldsTheValuesOfGgmlToTheDigitsOfFloat16) {
  constexpr int kWidth = 512, kRows = 3;
  const auto& param = GetParam();
  const auto bytes =
      random_blocks(param.type, kRows * kWidth / 256, param.largest_exponent);
  const auto weight = read({kWidth, kRows}, param.type, bytes);
  EXPECT_EQ(weight.shape(), (mx::Shape{kRows, kWidth}));
  EXPECT_EQ(weight.dtype(), mx::float16);
  EXPECT_EQ(weight.quantization.has_value(), param.bits != 0);
  if (param.bits != 0) {
    EXPECT_EQ(weight.quantization, (Quantization{param.bits, 32}));
  }
  const auto values = values_of(weight);
  const auto rounding =
      param.bits == 0 ? std::vector<double>() : rounding_of(weight);
  for (int i = 0; i < kRows * kWidth; ++i) {
    const double expected = expected_value(param.type, bytes, i);
    const double got = values[static_cast<std::size_t>(i)];
    if (param.bits == 0) {
      const mx::float16_t rounded(static_cast<float>(expected));
      ASSERT_EQ(got, static_cast<float>(rounded)) << i;
    } else {
      ASSERT_NEAR(got, expected, rounding[static_cast<std::size_t>(i / 32)])
          << i;
    }
  }
}

// Larger scales can make values that no float16 holds.
INSTANTIATE_TEST_SUITE_P(
    Types, KQuantGgufBlocksTest,
    ::testing::Values(QuantizedCase{"Q2_K", GgmlType::q2_k, 0, 20},
                      QuantizedCase{"Q3_K", GgmlType::q3_k, 0, 20},
                      QuantizedCase{"Q4_K", GgmlType::q4_k, 4, 20},
                      QuantizedCase{"Q5_K", GgmlType::q5_k, 5, 20},
                      QuantizedCase{"Q6_K", GgmlType::q6_k, 0, 18}),
    [](const auto& test) { return test.param.name; });

TEST_F(GgufBlocksTest, PacksAsMlxDoes) {
  const auto bytes = random_blocks(GgmlType::q8_0, 4, 16);
  const auto weight = read({64, 2}, GgmlType::q8_0, bytes);
  const auto* packed = weight.data.data<std::uint32_t>();
  for (std::size_t i = 0; i < 128; ++i) {
    const int q =
        static_cast<signed char>(bytes[i / 32 * 34 + 2 + i % 32]) + 128;
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

TEST_F(GgufBlocksTest, ReadsStacksOfMatricesAsTheyLie) {
  for (const auto type : kQuantizedTypes) {
    const auto& info = info_of(type);
    const auto width = static_cast<std::uint64_t>(info.block_size);
    const auto bytes = random_blocks(type, 12, 16);
    const auto stack = read({width, 4, 3}, type, bytes);
    EXPECT_EQ(stack.shape(), (mx::Shape{3, 4, info.block_size}));
    EXPECT_EQ(values_of(stack), values_of(read({width, 12}, type, bytes)));
  }
}

TEST_F(GgufBlocksTest, PutsRowsIntoTheOrderAskedFor) {
  const std::vector<std::int32_t> order = {2, 0, 3, 1};
  for (const auto type : kQuantizedTypes) {
    constexpr std::size_t kWidth = 256;
    const auto bytes = random_blocks(
        type, 4 * kWidth / static_cast<std::size_t>(info_of(type).block_size),
        16);
    const auto plain = values_of(read({kWidth, 4}, type, bytes));
    const auto ordered = values_of(read({kWidth, 4}, type, bytes, order));
    for (std::size_t row = 0; row < 4; ++row) {
      for (std::size_t i = 0; i < kWidth; ++i) {
        const auto from = static_cast<std::size_t>(order[row]);
        EXPECT_EQ(ordered[row * kWidth + i], plain[from * kWidth + i]);
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
  for (const auto type : kQuantizedTypes) {
    const int size = 2 * info_of(type).block_size;
    std::vector<std::int32_t> order(static_cast<std::size_t>(size));
    std::iota(order.rbegin(), order.rend(), 0);
    const auto bytes = random_blocks(type, 2, 31);
    const auto weight =
        read({static_cast<std::uint64_t>(size)}, type, bytes, order);
    EXPECT_FALSE(weight.quantization);
    EXPECT_EQ(weight.data.dtype(), mx::float32);
    const auto values = values_of(weight);
    for (int i = 0; i < size; ++i) {
      EXPECT_EQ(values[static_cast<std::size_t>(size - 1 - i)],
                static_cast<float>(expected_value(type, bytes, i)));
    }
  }
}

TEST_F(GgufBlocksTest, RefusesScalesThatAreNotFinite) {
  for (const std::uint16_t odd : {0x7c00, 0xfc00, 0x7e00}) {
    for (const auto type : kQuantizedTypes) {
      for (const auto half : halves_of(type)) {
        const auto& info = info_of(type);
        auto bytes = random_blocks(type, 2, 16);
        bytes.replace(bytes.size() / 2 + half, 2, raw(odd));
        const auto width = static_cast<std::uint64_t>(info.block_size);
        EXPECT_THAT(error_of(ErrorCode::corrupt_file,
                             [&] {
                               read({width, 2}, type, bytes);
                             }),
                    HasSubstr("tensor t has a scale that is not finite"));
      }
    }
  }
}

TEST_F(GgufBlocksTest, RefusesWhatFloat16DoesNotHold) {
  for (const auto type : kQuantizedTypes) {
    if (type == GgmlType::q4_1 || type == GgmlType::q5_1) continue;
    const auto size = static_cast<std::uint64_t>(info_of(type).block_size);
    EXPECT_THAT(error_of(ErrorCode::unsupported,
                         [&] {
                           read({size, 2}, type, random_blocks(type, 2, 31));
                         }),
                HasSubstr("which float16 does not hold"));
  }
}

TEST_F(GgufBlocksTest, RefusesOtherTypesByName) {
  const auto q8_k = static_cast<GgmlType>(15);
  EXPECT_THAT(error_of(ErrorCode::unsupported,
                       [&] {
                         read({256, 1}, q8_k, std::string(292, 'x'));
                       }),
              HasSubstr("model.gguf: tensor t is stored as Q8_K, which is not "
                        "supported; use a GGUF in Q2_K to Q6_K, Q4_0 to Q8_0, "
                        "F16, BF16 or F32"));
}

}  // namespace
}  // namespace llamlx
