#include "tensor/weight.h"

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/random.h>

#include "tensor/finite.h"

namespace llamlx {
namespace {

class WeightTest : public ::testing::TestWithParam<QuantizationMode> {
 protected:
  static Weight packed() {
    const auto dense = mx::random::normal({6, 128}, mx::random::key(5));
    return quantize(dense, default_quantization(GetParam()));
  }
};

bool same(const mx::array& a, const mx::array& b) {
  return a.dtype() == b.dtype() && mx::array_equal(a, b).item<bool>();
}

TEST_P(WeightTest, HasTheShapeAndTheBytesThatWerePlanned) {
  const auto weight = packed();
  EXPECT_EQ(weight.shape(), (mx::Shape{6, 128}));
  EXPECT_EQ(weight.nbytes(),
            stored_bytes({6, 128}, {weight.dtype(), weight.quantization}));
}

TEST_P(WeightTest, RowsKeepTheirValues) {
  const auto weight = packed();
  const auto values = dequantize(weight, mx::float32);
  EXPECT_TRUE(same(dequantize(slice_rows(weight, 1, 4), mx::float32),
                   mx::slice(values, {1, 0}, {4, 128})));
  const mx::array order({5, 0, 3});
  EXPECT_TRUE(same(dequantize(take_rows(weight, order), mx::float32),
                   mx::take(values, order, 0)));
}

TEST_P(WeightTest, OnlyScalesOfTheValuesTypeAreCast) {
  const auto weight = packed();
  const auto cast = astype(weight, mx::float16);
  EXPECT_TRUE(same(cast.data, weight.data));
  if (weight.quantization->is_affine()) {
    EXPECT_EQ(cast.dtype(), mx::float16);
    return;
  }
  EXPECT_EQ(cast.dtype(), mx::bfloat16);
  EXPECT_FALSE(cast.biases);
  EXPECT_TRUE(same(*cast.scales, *weight.scales));
}

INSTANTIATE_TEST_SUITE_P(
    Modes, WeightTest,
    ::testing::Values(QuantizationMode::affine, QuantizationMode::mxfp4,
                      QuantizationMode::mxfp8, QuantizationMode::nvfp4),
    [](const auto& test) { return to_string(test.param); });

TEST(WeightOfBytesTest, ABfloat16HoldsItsValues) {
  const auto dense = mx::random::normal({6, 128}, mx::random::key(5));
  for (const auto mode : {QuantizationMode::mxfp4, QuantizationMode::mxfp8,
                          QuantizationMode::nvfp4}) {
    const auto weight = quantize(dense, default_quantization(mode));
    const auto values = dequantize(weight, mx::bfloat16);
    EXPECT_TRUE(
        same(mx::astype(values, mx::float32), dequantize(weight, mx::float32)));
  }
}

TEST(WeightOfBytesTest, NotANumberIsFoundInScalesAndNumbers) {
  const auto with = [](QuantizationMode mode, unsigned code, unsigned scale) {
    const auto q = default_quantization(mode);
    const auto fill = [](mx::Shape shape, unsigned byte) {
      return mx::full(std::move(shape), byte, mx::uint8);
    };
    const auto data = mx::view(fill({1, 32 * q.bits / 8}, code), mx::uint32);
    return all_finite({data, fill({1, 32 / q.group_size}, scale), {}, q});
  };
  EXPECT_TRUE(with(QuantizationMode::mxfp4, 0xff, 0xfe));
  EXPECT_FALSE(with(QuantizationMode::mxfp4, 0, 0xff));
  EXPECT_TRUE(with(QuantizationMode::mxfp8, 0xfe, 0x7f));
  EXPECT_FALSE(with(QuantizationMode::mxfp8, 0, 0xff));
  EXPECT_FALSE(with(QuantizationMode::mxfp8, 0xff, 0));
  EXPECT_TRUE(with(QuantizationMode::nvfp4, 0xff, 0xfe));
  EXPECT_FALSE(with(QuantizationMode::nvfp4, 0, 0xff));
  EXPECT_FALSE(with(QuantizationMode::nvfp4, 0, 0x7f));
}

}  // namespace
}  // namespace llamlx
