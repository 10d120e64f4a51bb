#include "cpu/quantize/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "base/concat.h"

namespace llamlx {
namespace {

constexpr int kBits[] = {2, 3, 4, 5, 6, 8};
constexpr int kGroupSizes[] = {32, 64, 128};
constexpr ValueType kTypes[] = {ValueType::f32, ValueType::f16,
                                ValueType::bf16};

/// The value of a number of 16 bits, from the definition of its format.
double value_of(std::uint16_t bits, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
  const int fraction = bits & ((1 << fraction_bits) - 1);
  const int whole = exponent == 0 ? 0 : 1 << fraction_bits;
  const double size = std::ldexp(whole + fraction,
                                 std::max(exponent, 1) - bias - fraction_bits);
  return bits >> 15 != 0 ? -size : size;
}

float read(const void* values, ValueType type, std::size_t i) {
  if (type == ValueType::f32) return static_cast<const float*>(values)[i];
  const auto bits = static_cast<const std::uint16_t*>(values)[i];
  return static_cast<float>(type == ValueType::f16 ? value_of(bits, 5, 10)
                                                   : value_of(bits, 8, 7));
}

/// The nearest number of a type of 16 bits, by looking for it: positive ones
/// are ordered as their bits are. Of two as near the even one.
std::uint16_t nearest(float value, ValueType type) {
  const int exponent_bits = type == ValueType::f16 ? 5 : 8;
  const int fraction_bits = 15 - exponent_bits;
  const double size = std::fabs(static_cast<double>(value));
  std::uint32_t low = 0;
  std::uint32_t high = ((1u << exponent_bits) - 1) << fraction_bits;
  const auto at = [&](std::uint32_t bits) {
    return value_of(static_cast<std::uint16_t>(bits), exponent_bits,
                    fraction_bits);
  };
  while (high - low > 1) {
    const auto middle = (low + high) / 2;
    (at(middle) <= size ? low : high) = middle;
  }
  const double below = size - at(low);
  const double above = at(high) - size;
  const bool up = above < below || (above == below && low % 2 == 1);
  const std::uint32_t sign = std::signbit(value) ? 0x8000 : 0;
  return static_cast<std::uint16_t>(sign | (up ? high : low));
}

struct Quantized {
  std::vector<std::uint8_t> data;
  std::vector<float> scales;  // as they read
  std::vector<float> biases;

  bool operator==(const Quantized&) const = default;
};

/// The definition, a value at a time, and a bit at a time.
Quantized reference(const WeightFormat& format, std::vector<float> values) {
  const auto size = static_cast<std::size_t>(format.group_size);
  const auto bits = static_cast<std::size_t>(format.bits);
  const auto stored = [&](float value) {
    if (format.values == ValueType::f32) return value;
    const auto half = nearest(value, format.values);
    return read(&half, format.values, 0);
  };
  for (auto& value : values) value = stored(value);
  Quantized result;
  result.data.resize(values.size() * bits / 8);
  const auto last = static_cast<float>((1 << bits) - 1);
  for (std::size_t begin = 0; begin < values.size(); begin += size) {
    const auto* group = values.data() + begin;
    const auto [least, most] = std::minmax_element(group, group + size);
    const bool down = std::fabs(*least) > std::fabs(*most);
    float scale = std::max((*most - *least) / last, 1e-7f);
    if (!down) scale = -scale;
    const float edge = down ? *least : *most;
    const float steps = std::nearbyint(edge / scale);
    float bias = 0;
    if (steps != 0) {
      scale = edge / steps;
      bias = edge;
    }
    result.scales.push_back(stored(scale));
    result.biases.push_back(stored(bias));
    for (std::size_t i = 0; i < size; ++i) {
      const float code = std::nearbyint((group[i] - bias) / scale);
      const auto number = static_cast<unsigned>(std::clamp(code, 0.0f, last));
      for (std::size_t bit = 0; bit < bits; ++bit) {
        const auto at = (begin + i) * bits + bit;
        result.data[at / 8] |=
            static_cast<std::uint8_t>((number >> bit & 1) << at % 8);
      }
    }
  }
  return result;
}

/// What a kernel makes of values that lie at an odd place, between guards.
class Trial {
 public:
  Trial(const QuantizeKernel& kernel, const WeightFormat& format,
        const std::vector<float>& values, ValueType source) {
    const auto count = values.size();
    const auto size = static_cast<std::size_t>(format.group_size);
    groups_ = count / size;
    for (const float value : values) put(value, source);
    data_.assign(count * static_cast<std::size_t>(format.bits) / 8 + kGuard,
                 0xa5);
    scales_.assign(groups_ * 4 + kGuard, 0xa5);
    biases_ = scales_;
    finiteness = kernel.quantize(
        format, stored_.data() + 4, source, static_cast<std::int64_t>(groups_),
        {data_.data(), scales_.data(), biases_.data()});
    const auto width = size_of(format.values);
    guards_hold = holds(data_, data_.size() - kGuard) &&
                  holds(scales_, groups_ * width) &&
                  holds(biases_, groups_ * width);
    result.data.assign(data_.begin(), data_.end() - kGuard);
    for (std::size_t g = 0; g < groups_; ++g) {
      result.scales.push_back(read(scales_.data(), format.values, g));
      result.biases.push_back(read(biases_.data(), format.values, g));
    }
  }

  Quantized result;
  Finiteness finiteness = {};
  bool guards_hold = false;

 private:
  static constexpr std::size_t kGuard = 64;

  static bool holds(const std::vector<std::uint8_t>& bytes, std::size_t from) {
    return std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                       bytes.end(), [](auto byte) { return byte == 0xa5; });
  }

  void put(float value, ValueType type) {
    const auto width = size_of(type);
    const auto half =
        type == ValueType::f32 ? std::uint16_t{0} : nearest(value, type);
    stored_.resize(stored_.size() + width);
    std::memcpy(
        stored_.data() + stored_.size() - width,
        type == ValueType::f32 ? static_cast<const void*>(&value) : &half,
        width);
  }

  std::size_t groups_ = 0;
  std::vector<std::uint8_t> stored_ = std::vector<std::uint8_t>(4);
  std::vector<std::uint8_t> data_;
  std::vector<std::uint8_t> scales_;
  std::vector<std::uint8_t> biases_;
};

std::vector<float> rounded_to(std::vector<float> values, ValueType type) {
  if (type == ValueType::f32) return values;
  for (auto& value : values) {
    const auto half = nearest(value, type);
    value = read(&half, type, 0);
  }
  return values;
}

/// 34 groups of 128: some as weights are, some of every odd kind. None is too
/// large for `type`.
std::vector<float> sample(ValueType type, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.02f);
  // Neither becomes infinite in bfloat16.
  const float large = type == ValueType::f16 ? 65280 : 3.38e38f;
  const auto any = [&] { return normal(random); };
  std::vector<float> values;
  const auto fill = [&](auto make) {
    for (int i = 0; i < 128; ++i) values.push_back(make(i));
  };
  for (int group = 0; group < 18; ++group) fill([&](int) { return any(); });
  fill([](int) { return 0.0f; });
  fill([](int i) { return i % 2 == 0 ? -0.0f : 0.0f; });
  fill([](int) { return 0.7f; });
  fill([](int) { return -0.7f; });
  fill([](int) { return 1234.0f; });
  fill([&](int) { return std::fabs(any()); });
  fill([&](int) { return -std::fabs(any()); });
  fill([&](int) { return 1e-6f * any(); });   // steps below 1e-7
  fill([&](int) { return 1e-38f * any(); });  // subnormal
  fill([&](int i) { return i % 7 == 0 ? large : -large; });
  fill([&](int i) { return i == 3 ? large : any(); });
  fill([](int i) { return static_cast<float>(i % 16); });
  fill([](int i) { return 0.5f * static_cast<float>(i % 31) - 7.5f; });  // ties
  fill([&](int i) { return i % 5 == 0 ? 0.0f : any(); });
  fill([&](int) { return std::ldexp(any(), static_cast<int>(random() % 12)); });
  fill([](int i) { return i == 127 ? -1.0f : 1.0f; });
  return values;
}

class QuantizeKernels : public ::testing::TestWithParam<std::size_t> {
 protected:
  void SetUp() override {
    kernel_ = all_quantize_kernels()[GetParam()];
    if (!is_supported(kernel_.isa)) {
      GTEST_SKIP() << to_string(kernel_.isa) << " does not run here";
    }
  }

  QuantizeKernel kernel_ = {};
};

TEST_P(QuantizeKernels, WriteTheBitsOfTheDefinition) {
  for (const auto type : kTypes) {
    const auto values = rounded_to(sample(type, 1), type);
    for (const int bits : kBits) {
      for (const int group_size : kGroupSizes) {
        const WeightFormat format = {type, bits, group_size};
        const Trial trial(kernel_, format, values, type);
        EXPECT_TRUE(trial.result == reference(format, values))
            << bits << " bits, group " << group_size << ", type "
            << static_cast<int>(type);
        EXPECT_TRUE(trial.guards_hold) << "wrote beyond its memory";
      }
    }
  }
}

TEST_P(QuantizeKernels, RoundToTheTypeOfTheScalesFirst) {
  for (const auto source : kTypes) {
    for (const auto type : kTypes) {
      const bool small = source == ValueType::f16 || type == ValueType::f16;
      const auto values =
          rounded_to(sample(small ? ValueType::f16 : type, 2), source);
      const WeightFormat format = {type, 4, 64};
      const Trial trial(kernel_, format, values, source);
      EXPECT_TRUE(trial.result == reference(format, values))
          << static_cast<int>(source) << " to " << static_cast<int>(type);
    }
  }
}

TEST_P(QuantizeKernels, TakeAnyNumberOfGroups) {
  const auto all = sample(ValueType::f32, 3);
  for (const int group_size : kGroupSizes) {
    for (std::size_t groups = 0; groups <= 33; ++groups) {
      const WeightFormat format = {ValueType::f32, 3, group_size};
      const auto count = groups * static_cast<std::size_t>(group_size);
      const std::vector<float> values(
          all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count));
      const Trial trial(kernel_, format, values, ValueType::f32);
      EXPECT_TRUE(trial.result == reference(format, values)) << groups;
      EXPECT_TRUE(trial.guards_hold) << groups;
    }
  }
}

TEST_P(QuantizeKernels, TellOfValuesThatAreNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const auto type : kTypes) {
    const WeightFormat format = {type, 4, 32};
    std::vector<float> values(std::size_t{32} * 21, 0.5f);
    EXPECT_TRUE(
        Trial(kernel_, format, values, ValueType::f32).finiteness.source);
    for (const float odd : {infinity, -infinity, std::nanf("")}) {
      for (const std::size_t at : {std::size_t{0}, values.size() - 1}) {
        auto some = values;
        some[at] = odd;
        const Trial trial(kernel_, format, some, ValueType::f32);
        EXPECT_FALSE(trial.finiteness.source) << odd << " at " << at;
        EXPECT_TRUE(trial.guards_hold);
      }
    }
  }
}

TEST_P(QuantizeKernels, TellOfResultsThatAreNotFinite) {
  std::vector<float> values(std::size_t{32} * 21, 0.5f);
  values.back() = 65520;  // the first that rounds to infinity
  for (const auto type : kTypes) {
    const Trial trial(kernel_, {type, 4, 32}, values, ValueType::f32);
    EXPECT_TRUE(trial.finiteness.source);
    EXPECT_EQ(trial.finiteness.result, type != ValueType::f16);
  }
  // Both ends fit, but what lies between them is too long.
  values.front() = 3.3e38f;
  values[1] = -3.3e38f;
  const Trial trial(kernel_, {ValueType::bf16, 4, 32}, values, ValueType::bf16);
  EXPECT_TRUE(trial.finiteness.source);
  EXPECT_FALSE(trial.finiteness.result);
}

INSTANTIATE_TEST_SUITE_P(
    All, QuantizeKernels,
    ::testing::Range(std::size_t{0}, all_quantize_kernels().size()),
    [](const auto& kernel) {
      return std::string(to_string(all_quantize_kernels()[kernel.param].isa));
    });

TEST(Quantize, TakesTheProvedKernel) {
  const auto values = sample(ValueType::f32, 4);
  const WeightFormat format = {ValueType::f32, 4, 64};
  const auto expected = reference(format, values);
  std::vector<std::uint8_t> data(expected.data.size());
  Quantized got{std::move(data), expected.scales, expected.biases};
  std::fill(got.scales.begin(), got.scales.end(), 0.0f);
  std::fill(got.biases.begin(), got.biases.end(), 0.0f);
  quantize_rows(format, values.data(), ValueType::f32, 34, 128,
                {got.data.data(), got.scales.data(), got.biases.data()});
  EXPECT_TRUE(got == expected);
}

}  // namespace
}  // namespace llamlx
