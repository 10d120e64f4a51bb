#include "convert/quantize_weight.h"

#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/random.h>

#include "base/concat.h"

namespace llamlx {
namespace {

/// True for arrays of one type and shape whose bytes are equal.
bool same_bits(const mx::array& a, const mx::array& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         mx::array_equal(mx::view(mx::flatten(a), mx::uint8),
                         mx::view(mx::flatten(b), mx::uint8))
             .item<bool>();
}

mx::array evaluated(mx::array values) {
  values = mx::contiguous(values);
  values.eval();
  return values;
}

/// Whether quantize_weight() makes what MLX makes on a CPU of the same values.
bool is_as_mlx_does(const mx::array& values, mx::Dtype dtype,
                    const Quantization& q,
                    const std::vector<std::int32_t>& order = {}) {
  const auto got = quantize_weight(evaluated(values), order, dtype, q).weight;
  const mx::Device cpu(mx::Device::cpu);
  auto rows = mx::astype(values, dtype, cpu);
  if (!order.empty()) {
    const auto count = static_cast<int>(order.size());
    rows = mx::take(rows, mx::array(order.data(), {count}), 0, cpu);
  }
  const auto expected = mx::quantize(rows, q.group_size, q.bits,
                                     to_string(q.mode), std::nullopt, cpu);
  return got.quantization == q && same_bits(got.data, expected[0]) &&
         same_bits(*got.scales, expected[1]) &&
         (q.is_affine() ? same_bits(*got.biases, expected[2]) : !got.biases);
}

/// A row of 128 of each odd kind; what they become in `dtype` is finite.
mx::array odd_values(mx::Dtype dtype) {
  const bool is_half = dtype == mx::float16;
  const float large = is_half ? 65280 : 3.38e38f;
  const float tiny = is_half ? 6e-8f : 1e-39f;
  std::vector<float> values;
  const auto add_row = [&](auto make) {
    for (int i = 0; i < 128; ++i) values.push_back(make(i));
  };
  add_row([](int) { return 0.0f; });
  add_row([](int) { return -0.0f; });
  add_row([](int i) { return i % 2 == 0 ? 0.0f : -0.0f; });
  add_row([](int) { return 0.7f; });
  add_row([](int) { return -1234.0f; });
  add_row([&](int) { return large; });
  add_row([&](int i) { return i % 3 == 0 ? large : -large; });
  add_row([&](int i) { return i == 70 ? -large : 0.01f; });
  add_row([&](int i) { return tiny * static_cast<float>(i); });
  add_row([&](int i) { return i == 5 ? -tiny : 1e-7f; });
  add_row([](int i) { return static_cast<float>(i % 16); });
  add_row([](int i) { return 0.5f * static_cast<float>(i % 31) - 7.5f; });
  add_row([](int i) { return i < 127 ? 1.0f : 1.0078125f; });
  add_row([](int i) { return i % 2 == 0 ? -3.0f : 3.0f; });
  const auto rows = static_cast<int>(values.size() / 128);
  return mx::array(values.data(), {rows, 128});
}

using Packing = std::tuple<Quantization, mx::Dtype>;

std::vector<Quantization> packings_as_numbers() {
  std::vector<Quantization> all;
  for (const auto* mode : {"mxfp4", "mxfp8", "nvfp4"}) {
    all.push_back(default_quantization(*quantization_mode(mode)));
  }
  return all;
}

std::vector<Quantization> every_packing() {
  auto all = packings_as_numbers();
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group_size : {32, 64, 128})
      all.push_back({bits, group_size});
  }
  return all;
}

class QuantizeWeight : public ::testing::TestWithParam<Packing> {
 protected:
  const Quantization packing_ = std::get<0>(GetParam());
  const mx::Dtype dtype_ = std::get<1>(GetParam());
};

TEST_P(QuantizeWeight, MakesTheBitsOfMlxOfRandomValues) {
  for (const float size : {1e-6f, 0.02f, 1000.0f}) {
    const auto values =
        mx::random::normal({97, 384}, mx::float32, 0, size, mx::random::key(1));
    EXPECT_TRUE(is_as_mlx_does(mx::astype(values, dtype_), dtype_, packing_))
        << size;
  }
}

TEST_P(QuantizeWeight, MakesTheBitsOfMlxOfOddValues) {
  const auto rows = odd_values(dtype_);
  for (int row = 0; row < rows.shape(0); ++row) {
    const auto one = mx::slice(rows, {row, 0}, {row + 1, 128});
    EXPECT_TRUE(is_as_mlx_does(mx::astype(one, dtype_), dtype_, packing_))
        << "row " << row;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, QuantizeWeight,
    ::testing::Combine(::testing::ValuesIn(every_packing()),
                       ::testing::Values(mx::float16, mx::bfloat16,
                                         mx::float32)),
    [](const auto& instance) {
      const auto& packing = std::get<0>(instance.param);
      return concat(to_string(packing.mode), "_", packing.bits, "bits_in_",
                    packing.group_size, "s_",
                    to_string(std::get<1>(instance.param)));
    });

/// What of the numbers with these bits is finite, else 0.
mx::array finite_numbers(const mx::array& bits, mx::Dtype dtype) {
  const auto all = mx::view(bits, dtype);
  return mx::where(mx::isfinite(all), all, mx::array(0, dtype));
}

mx::array every_number_of_16_bits(mx::Dtype dtype) {
  return finite_numbers(mx::arange(0, 1 << 16, mx::uint16), dtype);
}

/// All finite numbers of 16 bits, or as many of float32, [512, 128].
mx::array numbers_of_every_size(mx::Dtype dtype) {
  const auto numbers =
      dtype == mx::float32
          ? finite_numbers(mx::random::bits({1 << 16}, 4, mx::random::key(6)),
                           dtype)
          : every_number_of_16_bits(dtype);
  return mx::reshape(numbers, {512, 128});
}

/// Next to 6 and 448 times every power of two, where a group with that as its
/// largest gets another power; of 16 bits all numbers.
mx::array largest_where_powers_change(mx::Dtype dtype) {
  if (dtype != mx::float32) return every_number_of_16_bits(dtype);
  const auto powers = mx::multiply(mx::arange(1, 255, mx::uint32),
                                   mx::array(1U << 23, mx::uint32));
  const auto fractions = mx::array({0x40'0000U, 0x60'0000U}, mx::uint32);
  const auto next =
      mx::subtract(mx::arange(0, 256, mx::uint32), mx::array(64, mx::uint32));
  const auto bits = mx::add(
      mx::add(mx::reshape(powers, {-1, 1, 1}), mx::reshape(fractions, {-1, 1})),
      next);
  return finite_numbers(mx::flatten(bits), dtype);
}

TEST(QuantizeWeightNumbers, OfEverySizeAreMlxs) {
  for (const auto dtype : {mx::float16, mx::bfloat16, mx::float32}) {
    const auto all = numbers_of_every_size(dtype);
    const auto mixed = mx::transpose(all);
    const auto small = mx::multiply(mixed, mx::array(1e-3f, dtype));
    for (const auto& q : packings_as_numbers()) {
      for (const auto& values : {all, mixed, small}) {
        EXPECT_TRUE(is_as_mlx_does(values, dtype, q))
            << to_string(q) << ' ' << to_string(dtype);
      }
    }
  }
}

TEST(QuantizeWeightNumbers, AreMlxsWherePowersOfTwoChange) {
  for (const auto dtype : {mx::float16, mx::bfloat16, mx::float32}) {
    const auto largest = mx::expand_dims(largest_where_powers_change(dtype), 1);
    const auto rows =
        mx::where(mx::arange(32) == mx::array(0), largest, mx::array(0, dtype));
    for (const auto& q : packings_as_numbers()) {
      EXPECT_TRUE(is_as_mlx_does(rows, dtype, q))
          << to_string(q) << ' ' << to_string(dtype);
    }
  }
}

TEST(QuantizeWeightRows, AreCastFirst) {
  const auto values = mx::random::normal({33, 128}, mx::random::key(2));
  for (const auto source : {mx::float16, mx::bfloat16, mx::float32}) {
    for (const auto dtype : {mx::float16, mx::bfloat16, mx::float32}) {
      EXPECT_TRUE(is_as_mlx_does(mx::astype(values, source), dtype, {4, 64}))
          << to_string(source) << " to " << to_string(dtype);
    }
  }
}

TEST(QuantizeWeightRows, ComeInTheOrderAsked) {
  const auto values = mx::random::normal({4, 64}, mx::random::key(3));
  EXPECT_TRUE(is_as_mlx_does(values, mx::bfloat16, {4, 32}, {2, 0, 3, 1}));
}

TEST(QuantizeWeightRows, MayHaveAxesOfTheirOwn) {
  const auto values = mx::random::normal({3, 5, 64}, mx::random::key(4));
  EXPECT_TRUE(is_as_mlx_does(values, mx::float16, {3, 32}, {1, 2, 0}));
}

TEST(QuantizeWeightRows, MayBeMoreThanATask) {
  const auto values = mx::random::normal({9000, 96}, mx::random::key(5));
  EXPECT_TRUE(is_as_mlx_does(values, mx::bfloat16, {5, 32}));
}

TEST(QuantizeWeightRows, MayBeNone) {
  const auto made =
      quantize_weight(mx::zeros({0, 64}), {}, mx::float16, {4, 64});
  EXPECT_EQ(made.weight.shape(), mx::Shape({0, 64}));
  EXPECT_TRUE(made.finiteness.source);
}

TEST(QuantizeWeightRows, TellOfValuesThatAreNotFinite) {
  for (const float odd :
       {std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity(), std::nanf("")}) {
    std::vector<float> values(std::size_t{9000} * 96, 0.5f);
    values[values.size() - 5] = odd;
    const auto made = quantize_weight(mx::array(values.data(), {9000, 96}), {},
                                      mx::bfloat16, {4, 32});
    EXPECT_FALSE(made.finiteness.source) << odd;
  }
}

}  // namespace
}  // namespace llamlx
