#include "cpu/vector/vector.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/concat.h"

namespace llamlx {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kEpsilon = 0x1p-24;  // half a unit in the last place of 1
constexpr int kLongest = 130;

using Floats = std::vector<float>;

Floats random_floats(int n, unsigned seed, float low = -3, float high = 3) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> draw(low, high);
  Floats x(static_cast<std::size_t>(n));
  for (auto& value : x) value = draw(random);
  return x;
}

/// Numbers of a type at an address aligned for it, no more.
struct Typed {
  ValueType type;
  std::vector<std::uint16_t> words;
  const void* data() const {
    return type == ValueType::f32 ? words.data() + 2 : words.data() + 1;
  }
};

double bf16_value(std::uint16_t bits) {
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

double f16_value(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  const double magnitude = exponent == 31 ? (fraction != 0 ? kNan : kInfinity)
                           : exponent == 0
                               ? std::ldexp(fraction, -24)
                               : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

double value_of(const void* p, ValueType type, int i) {
  if (type == ValueType::f32) return static_cast<const float*>(p)[i];
  std::uint16_t bits;
  std::memcpy(&bits, static_cast<const char*>(p) + 2 * i, 2);
  return type == ValueType::bf16 ? bf16_value(bits) : f16_value(bits);
}

/// Random numbers of a type, made of random bits of moderate size.
Typed random_typed(ValueType type, int n, unsigned seed) {
  std::mt19937 random(seed);
  Typed typed{type, std::vector<std::uint16_t>(static_cast<std::size_t>(
                        n * (type == ValueType::f32 ? 2 : 1) + 2))};
  for (int i = 0; i < n; ++i) {
    const float value = std::uniform_real_distribution<float>(-2, 2)(random);
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    char* at = reinterpret_cast<char*>(typed.words.data()) +
               (type == ValueType::f32 ? 4 + 4 * i : 2 + 2 * i);
    const auto high = static_cast<std::uint16_t>(bits >> 16);
    const auto half =
        static_cast<std::uint16_t>((bits & 0x83ff) | (10 + bits % 6) << 10);
    if (type == ValueType::f32) std::memcpy(at, &bits, 4);
    if (type == ValueType::bf16) std::memcpy(at, &high, 2);
    if (type == ValueType::f16) std::memcpy(at, &half, 2);
  }
  return typed;
}

constexpr ValueType kTypes[] = {ValueType::f32, ValueType::f16,
                                ValueType::bf16};

class VectorTest : public ::testing::TestWithParam<const VectorKernels*> {
 protected:
  void SetUp() override {
    if (!is_supported(GetParam()->isa)) {
      GTEST_SKIP() << "this machine has no " << to_string(GetParam()->isa);
    }
  }
  const VectorKernels& kernels() { return *GetParam(); }
};

INSTANTIATE_TEST_SUITE_P(Isas, VectorTest,
                         ::testing::ValuesIn(all_vector_kernels()),
                         [](const auto& test) {
                           return std::string(test.param->name);
                         });

TEST_P(VectorTest, NormsARow) {
  for (const auto type : kTypes) {
    for (int n = 1; n <= kLongest; ++n) {
      const auto x = random_floats(n, static_cast<unsigned>(n));
      const auto weight = random_typed(type, n, 7);
      Floats out(static_cast<std::size_t>(n + 1), 42);
      kernels().rms_norm(x.data(), weight.data(), type, n, 1e-5f, out.data());
      double squares = 0;
      for (const double value : x) squares += value * value;
      const double factor = 1 / std::sqrt(squares / n + double{1e-5f});
      for (int i = 0; i < n; ++i) {
        const double expected = x[static_cast<std::size_t>(i)] * factor *
                                value_of(weight.data(), type, i);
        // Half the sum's relative error, n / 4 additions a lane at the most
        // (scalar code), and seven roundings.
        EXPECT_NEAR(out[static_cast<std::size_t>(i)], expected,
                    (n / 8.0 + 7) * kEpsilon * std::abs(expected))
            << n << " " << i;
      }
      EXPECT_EQ(out.back(), 42);
    }
  }
}

TEST_P(VectorTest, SumsSquaresOfALongRowBetterThanOneByOne) {
  const int n = 16384;
  const auto x = random_floats(n, 1, 0.5, 1.5);
  const Floats ones(static_cast<std::size_t>(n), 1);
  Floats out(static_cast<std::size_t>(n));
  kernels().rms_norm(x.data(), ones.data(), ValueType::f32, n, 0, out.data());
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double expected = x[0] / std::sqrt(squares / n);
  // One by one could err by n / 2 roundings; at least 16 sums are kept.
  EXPECT_NEAR(out[0], expected, n / 2.0 / 16 * kEpsilon * expected);
}

TEST_P(VectorTest, TurnsAHead) {
  for (const bool traditional : {false, true}) {
    for (int head_dim = 2; head_dim <= 258; head_dim += 2) {
      const int pairs = head_dim / 2;
      const auto before = random_floats(head_dim, 3);
      const auto periods = random_floats(pairs, 4, 1, 1000);
      Floats cos(static_cast<std::size_t>(pairs));
      Floats sin(static_cast<std::size_t>(pairs));
      rope_table(12345, periods.data(), pairs, 1.5f, cos.data(), sin.data());
      auto head = before;
      head.push_back(42);
      kernels().rope(head.data(), cos.data(), sin.data(), head_dim,
                     traditional);
      for (int i = 0; i < pairs; ++i) {
        const auto first = static_cast<std::size_t>(traditional ? 2 * i : i);
        const auto second =
            first + static_cast<std::size_t>(traditional ? 1 : pairs);
        const double a = before[first];
        const double b = before[second];
        const double c = cos[static_cast<std::size_t>(i)];
        const double s = sin[static_cast<std::size_t>(i)];
        const double size = std::abs(a) + std::abs(b);
        // Three roundings of numbers below 1.5 * size.
        EXPECT_NEAR(head[first], a * c - b * s, 4.5 * kEpsilon * size);
        EXPECT_NEAR(head[second], b * c + a * s, 4.5 * kEpsilon * size);
      }
      EXPECT_EQ(head.back(), 42);
    }
  }
}

TEST(RopeTable, IsExactAtALatePosition) {
  const Floats periods{1.0f, 3.14159f, 1000.0f};
  Floats cos(3);
  Floats sin(3);
  rope_table(1e6, periods.data(), 3, 2, cos.data(), sin.data());
  for (std::size_t i = 0; i < 3; ++i) {
    const long double angle = 1e6L / static_cast<long double>(periods[i]);
    EXPECT_NEAR(cos[i], 2 * std::cos(angle), 4 * kEpsilon);
    EXPECT_NEAR(sin[i], 2 * std::sin(angle), 4 * kEpsilon);
  }
}

TEST_P(VectorTest, ActivatesAndMultiplies) {
  for (int n = 1; n <= kLongest; ++n) {
    const auto gate = random_floats(n, 5, -80, 80);
    const auto up = random_floats(n, 6);
    Floats out(static_cast<std::size_t>(n + 1), 42);
    kernels().silu_mul(gate.data(), up.data(), n, out.data());
    for (std::size_t i = 0; i < gate.size(); ++i) {
      const double x = gate[i];
      const double expected = x / (1 + std::exp(-x)) * up[i];
      // Two units (four halves) of exp, three roundings.
      EXPECT_NEAR(out[i], expected, 7 * kEpsilon * std::abs(expected)) << x;
    }
    EXPECT_EQ(out.back(), 42);
  }
}

TEST_P(VectorTest, ActivatesTheExtremes) {
  const Floats gate{-1000, 1000, kNan, 0, -88, 88};
  const Floats up(6, 1);
  Floats out(6);
  kernels().silu_mul(gate.data(), up.data(), 6, out.data());
  EXPECT_EQ(out[0], 0);
  EXPECT_EQ(out[1], 1000);
  EXPECT_TRUE(std::isnan(out[2]));
  EXPECT_EQ(out[3], 0);
  EXPECT_NEAR(out[4], -88 * std::exp(-88.0), 1e-42);
  EXPECT_EQ(out[5], 88);
}

TEST_P(VectorTest, AddsAndScales) {
  for (int n = 0; n <= kLongest; ++n) {
    const auto a = random_floats(n, 8);
    const auto b = random_floats(n, 9);
    Floats sum(static_cast<std::size_t>(n + 1), 42);
    kernels().add(a.data(), b.data(), n, sum.data());
    auto scaled = a;
    scaled.push_back(42);
    kernels().scale(scaled.data(), 1.7f, n);
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(sum[i], a[i] + b[i]);
      EXPECT_EQ(scaled[i], a[i] * 1.7f);
    }
    EXPECT_EQ(sum.back(), 42);
    EXPECT_EQ(scaled.back(), 42);
    for (const auto type : kTypes) {
      const auto bias = random_typed(type, n, 10);
      auto x = a;
      x.push_back(42);
      kernels().add_bias(x.data(), bias.data(), type, n);
      for (std::size_t i = 0; i < a.size(); ++i) {
        EXPECT_EQ(x[i], a[i] + static_cast<float>(value_of(
                                   bias.data(), type, static_cast<int>(i))));
      }
      EXPECT_EQ(x.back(), 42);
    }
  }
}

TEST_P(VectorTest, ReadsEveryNumberOf16BitsAndWritesItBack) {
  std::vector<std::uint16_t> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<std::uint16_t>(i);
  }
  const int n = static_cast<int>(all.size());
  for (const auto type : {ValueType::f16, ValueType::bf16}) {
    Floats x(all.size());
    kernels().to_float(all.data(), type, n, x.data());
    std::vector<std::uint16_t> back(all.size());
    kernels().round_to(x.data(), n, type, back.data());
    for (int i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double expected = value_of(all.data(), type, i);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(x[at])) << i;
        ASSERT_TRUE(std::isnan(value_of(back.data(), type, i))) << i;
      } else {
        ASSERT_EQ(x[at], expected) << i;
        ASSERT_EQ(back[at], all[at]) << i;
      }
    }
  }
}

TEST_P(VectorTest, RoundsToNearestTiesToEven) {
  for (const auto type : {ValueType::f16, ValueType::bf16}) {
    const int bits = type == ValueType::f16 ? 11 : 8;
    for (int n = 1; n <= kLongest; ++n) {
      // Halves of a unit in the last place too: every third is a tie.
      Floats x(static_cast<std::size_t>(n));
      for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = std::ldexp(static_cast<float>((2 << bits) + 7 * i + n), -9);
      }
      std::vector<std::uint16_t> out(x.size() + 1, 4242);
      kernels().round_to(x.data(), n, type, out.data());
      for (int i = 0; i < n; ++i) {
        const double value = x[static_cast<std::size_t>(i)];
        int exponent;
        std::frexp(value, &exponent);
        const double unit = std::ldexp(1.0, exponent - bits);
        EXPECT_EQ(value_of(out.data(), type, i),
                  std::nearbyint(value / unit) * unit);
      }
      EXPECT_EQ(out.back(), 4242);
    }
  }
}

TEST_P(VectorTest, FindsTheFirstLargest) {
  for (int n = 1; n <= kLongest; ++n) {
    auto x = random_floats(n, static_cast<unsigned>(n), -9, -1);
    for (int at = 0; at < n; ++at) {
      auto y = x;
      y[static_cast<std::size_t>(at)] = 5;
      y.back() = 5;
      EXPECT_EQ(kernels().argmax(y.data(), n), at);
    }
  }
  for (const int n : {1023, 1024, 1025, 5000}) {
    auto x = random_floats(n, 11);
    EXPECT_EQ(kernels().argmax(x.data(), n),
              std::ranges::max_element(x) - x.begin());
    x[static_cast<std::size_t>(n / 2)] = x.back() = 7;
    EXPECT_EQ(kernels().argmax(x.data(), n), n / 2);
  }
  EXPECT_EQ(kernels().argmax(nullptr, 0), -1);
}

TEST_P(VectorTest, FindsAndDrawsNothingWhereAValueIsNotFinite) {
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    for (int at = 0; at < kLongest; ++at) {
      auto x = random_floats(kLongest, 12);
      x[static_cast<std::size_t>(at)] = bad;
      EXPECT_EQ(kernels().argmax(x.data(), kLongest), -1) << bad << " " << at;
      EXPECT_EQ(kernels().draw(x.data(), kLongest, 1, 0.5), -1);
    }
  }
  EXPECT_EQ(kernels().draw(nullptr, 0, 1, 0.5), -1);
}

TEST_P(VectorTest, DrawsWhereTheSumOfTheProbabilitiesPassesTheNumber) {
  // Of a power: two roundings before exp(), which move a value y by 2 |y|
  // epsilons at most, so e^y of the largest, 1, by 2 / e epsilons; and those of
  // exp(), 4. Of a sum of 1024 in 16 sums or more: as many as each has terms,
  // and 4 or more to join them, 80 in all.
  const double tolerance = (1 + 4 + 80) * kEpsilon;
  std::mt19937_64 random(31);
  std::uniform_real_distribution<double> number(0, 1);
  for (const int n : {1, 2, 15, 31, 33, 64, 130, 1023, 1024, 1025, 5000}) {
    const auto x = random_floats(n, 32, -6, 6);
    for (const float factor : {0.25f, 1.f, 1.7f}) {
      std::vector<double> up_to = {0};
      for (const float value : x) {
        up_to.push_back(up_to.back() + std::exp(double{factor} * value));
      }
      for (int i = 0; i < 200; ++i) {
        const double uniform = number(random);
        const double target = uniform * up_to.back();
        const double slack = tolerance * up_to.back();
        const int at = kernels().draw(x.data(), n, factor, uniform);
        ASSERT_GE(at, 0);
        ASSERT_LT(at, n);
        EXPECT_LE(up_to[static_cast<std::size_t>(at)], target + slack);
        EXPECT_GT(up_to[static_cast<std::size_t>(at) + 1], target - slack);
      }
    }
  }
}

TEST_P(VectorTest, DrawsNothingThatHasNoProbability) {
  constexpr double kAlmostOne = 1 - 0x1p-53;
  for (const int n : {40, 1030, 3000}) {
    for (const int at : {0, 1, 31, 32, n - 1}) {
      Floats x(static_cast<std::size_t>(n), -1e30f);
      x[static_cast<std::size_t>(at)] = 3e30f;
      for (const double uniform : {0.0, 0.5, kAlmostOne}) {
        for (const float factor : {1e-20f, 1.f, 3.4e38f}) {
          EXPECT_EQ(kernels().draw(x.data(), n, factor, uniform), at);
        }
      }
    }
  }
}

TEST_P(VectorTest, DequantizesARowOfAnyFormat) {
  const int rows = 3;
  for (const auto type : kTypes) {
    for (const int bits : {0, 2, 3, 4, 5, 6, 8}) {
      for (const int group : {32, 64, 128}) {
        const int cols = bits == 0 ? 77 : 2 * group;
        const int groups = rows * cols / group + 1;
        const auto dense = random_typed(type, rows * cols, 13);
        std::vector<std::uint32_t> words(
            static_cast<std::size_t>(rows * cols * bits / 32 + 1));
        std::mt19937 random(14);
        for (auto& word : words) word = static_cast<std::uint32_t>(random());
        const auto scales = random_typed(type, groups, 15);
        const auto biases = random_typed(type, groups, 16);
        const WeightView w{{type, bits, bits == 0 ? 0 : group},
                           rows,
                           cols,
                           bits == 0 ? dense.data() : words.data(),
                           bits == 0 ? nullptr : scales.data(),
                           bits == 0 ? nullptr : biases.data()};
        Floats out(static_cast<std::size_t>(cols + 1), 42);
        for (int row = 0; row < rows; ++row) {
          kernels().dequantize_row(w, row, out.data());
          for (int col = 0; col < cols; ++col) {
            const int i = row * cols + col;
            double expected = 0;
            double size = 0;
            if (bits == 0) {
              expected = value_of(dense.data(), type, i);
            } else {
              int q = 0;
              for (int bit = 0; bit < bits; ++bit) {
                const auto at = static_cast<std::size_t>(i * bits + bit);
                q |= static_cast<int>(words[at / 32] >> at % 32 & 1) << bit;
              }
              const double product =
                  q * value_of(scales.data(), type, i / group);
              const double bias = value_of(biases.data(), type, i / group);
              expected = product + bias;
              size = std::abs(product) + std::abs(expected);
            }
            // Exact, or a product and a sum rounded.
            ASSERT_NEAR(out[static_cast<std::size_t>(col)], expected,
                        kEpsilon * size)
                << bits << " bits, group " << group << ", column " << col;
          }
          EXPECT_EQ(out.back(), 42);
        }
      }
    }
  }
}

TEST(VectorKernels, AreThoseOfTheActiveInstructionSet) {
  EXPECT_LE(vector_kernels().isa, active_isa());
  for (const auto* kernels : all_vector_kernels()) {
    if (kernels->isa <= active_isa()) {
      EXPECT_LE(kernels->isa, vector_kernels().isa);
    }
  }
}

}  // namespace
}  // namespace llamlx
