#include "kernels/held_weight.h"

#include <numeric>
#include <vector>

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/random.h>

namespace llamlx {
namespace {

constexpr QuantizationMode kOfBytes[] = {
    QuantizationMode::mxfp4, QuantizationMode::mxfp8, QuantizationMode::nvfp4};

/// A row for each scale in [0, `scales`), with every code there is.
Weight every_code(QuantizationMode mode, int scales) {
  const auto q = default_quantization(mode);
  const int cols = q.bits == 8 ? 256 : 32;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(cols * q.bits / 8));
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const auto even = 2 * i % 16, odd = even + 1;
    codes[i] = static_cast<std::uint8_t>(q.bits == 8 ? i : even | odd << 4);
  }
  const int bytes = static_cast<int>(codes.size());
  const mx::array row(codes.begin(), {1, bytes}, mx::uint8);
  const auto data = mx::contiguous(mx::broadcast_to(row, {scales, bytes}));
  const auto scale = mx::reshape(mx::arange(scales, mx::uint8), {scales, 1});
  return {mx::view(data, mx::uint32),
          mx::broadcast_to(scale, {scales, cols / q.group_size}),
          {},
          q};
}

Weight held(const Weight& weight, mx::Dtype compute) {
  const ValueFormat stored{weight.dtype(), weight.quantization};
  return hold(weight, held_by_kernels(stored, compute));
}

TEST(HeldWeightTest, KernelsReadTheValuesThatMlxDoes) {
  for (const auto mode : kOfBytes) {
    // Of powers of two, those whose affine codes all are finite.
    const int scales = mode == QuantizationMode::mxfp4 ? 252 : 256;
    const auto weight = every_code(mode, scales);
    const auto values = dequantize(held(weight, mx::bfloat16), mx::float32);
    const auto expected =
        mx::astype(dequantize(weight, mx::bfloat16), mx::float32);
    EXPECT_TRUE(
        mx::array_equal(values, expected, /*equal_nan=*/true).item<bool>())
        << to_string(mode);
  }
}

TEST(HeldWeightTest, LargeWeightsAreSharedOutWhole) {
  const auto dense = mx::random::normal({300, 1024}, mx::random::key(2));
  for (const auto mode : kOfBytes) {
    const auto weight = quantize(dense, default_quantization(mode));
    EXPECT_TRUE(
        mx::array_equal(dequantize(held(weight, mx::float32), mx::float32),
                        dequantize(weight, mx::float32))
            .item<bool>())
        << to_string(mode);
  }
}

TEST(HeldWeightTest, TakesTheBytesThatItsFormatSays) {
  const auto dense = mx::random::normal({6, 128}, mx::random::key(3));
  for (const auto mode : kOfBytes) {
    const auto weight = quantize(dense, default_quantization(mode));
    for (const auto compute : {mx::float32, mx::float16, mx::bfloat16}) {
      const auto format =
          held_by_kernels({weight.dtype(), weight.quantization}, compute);
      const auto result = hold(weight, format);
      EXPECT_EQ(result.shape(), weight.shape());
      EXPECT_EQ(result.dtype(), mx::bfloat16);
      EXPECT_EQ(result.nbytes(), stored_bytes(result.shape(), format));
    }
  }
}

TEST(HeldWeightTest, OthersAreHeldInTheSmallerType) {
  for (const auto quantization :
       {std::optional<Quantization>(), std::optional(Quantization{4, 32})}) {
    const auto format =
        held_by_kernels({mx::float32, quantization}, mx::float16);
    EXPECT_EQ(format.dtype, mx::float16);
    EXPECT_EQ(format.quantization, quantization);
    EXPECT_EQ(held_by_kernels({mx::float16, quantization}, mx::float32).dtype,
              mx::float16);
    EXPECT_EQ(held_by_ops({mx::float16, quantization}, mx::float32).dtype,
              mx::float32);
  }
}

}  // namespace
}  // namespace llamlx
