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

TEST(HeldWeightTest, CudaKernelsReadNumbersOfFewBitsAsTheyAreStored) {
  const auto dense = mx::random::normal({6, 128}, mx::random::key(3));
  for (const auto mode : kOfBytes) {
    const auto q = default_quantization(mode);
    const ValueFormat stored{mx::bfloat16, q};
    const auto format = held_by_cuda_kernels(stored, mx::float16);
    EXPECT_EQ(format.dtype, mx::bfloat16);
    if (mode == QuantizationMode::mxfp4) {
      EXPECT_EQ(format.quantization,
                held_by_kernels(stored, mx::float16).quantization);
      continue;
    }
    EXPECT_EQ(format.quantization, q);
    const auto weight = quantize(dense, q);
    EXPECT_EQ(hold(weight, format).data.id(), weight.data.id());
    EXPECT_TRUE(is_read_by_cuda_kernels(weight));
  }
  for (const auto& q : {std::optional<Quantization>(), {{4, 32}}}) {
    EXPECT_EQ(held_by_cuda_kernels({mx::float32, q}, mx::float16).quantization,
              q);
  }
}

/// A weight of more groups than one thread looks at, of which one has another
/// scale and code.
Weight with_odd_group(QuantizationMode mode, int scale, int code) {
  constexpr int kRows = 700;
  const auto q = default_quantization(mode);
  const int groups = kRows * 256 / q.group_size;
  std::vector<std::uint8_t> scales(static_cast<std::size_t>(groups), 1);
  std::vector<std::uint8_t> codes(
      static_cast<std::size_t>(kRows * 32 * q.bits));
  scales[scales.size() - 9] = static_cast<std::uint8_t>(scale);
  codes[codes.size() - 99] = static_cast<std::uint8_t>(code);
  const mx::array data(codes.begin(), {kRows, 32 * q.bits}, mx::uint8);
  return {mx::view(data, mx::uint32),
          mx::array(scales.begin(), {kRows, groups / kRows}, mx::uint8),
          {},
          q};
}

TEST(HeldWeightTest, CudaKernelsReadNoLargeScalesAndNoNaN) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto is_read = [&](QuantizationMode mode, int scale, int code) {
      return is_read_by_cuda_kernels(with_odd_group(mode, scale, code));
    };
    // Scales from 4 on, and negative ones.
    EXPECT_EQ(is_read(QuantizationMode::nvfp4, byte, 0), byte < 0x48) << byte;
    EXPECT_TRUE(is_read(QuantizationMode::nvfp4, 0, byte)) << byte;
    EXPECT_EQ(is_read(QuantizationMode::mxfp8, byte, 0), byte <= 134) << byte;
    EXPECT_EQ(is_read(QuantizationMode::mxfp8, 0, byte), byte % 128 != 127)
        << byte;
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
