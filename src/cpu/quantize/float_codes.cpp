#include "cpu/quantize/float_codes.h"

#include <array>
#include <bit>
#include <cstddef>

#include "cpu/quantize/e4m3.h"

namespace llamlx {
namespace {

/// Twice the number that a code of 4 bits stands for.
constexpr std::array<int, 16> kTwice = {0, 1,  2,  3,  4,  6,  8,  12,
                                        0, -1, -2, -3, -4, -6, -8, -12};
constexpr int kMiddle = 12;  // of the affine codes: the one that stands for 0

/// Two codes of 4 bits as two of 5.
constexpr auto kWidened = [] {
  std::array<std::uint16_t, 256> pairs{};
  for (unsigned pair = 0; pair < pairs.size(); ++pair) {
    const int low = kTwice[pair % 16] + kMiddle;
    const int high = kTwice[pair / 16] + kMiddle;
    pairs[pair] = static_cast<std::uint16_t>(low | high << 5);
  }
  return pairs;
}();

constexpr unsigned kInfinity = 0x7f80;
constexpr unsigned kSign = 0x8000;

/// bf16's bits of 2^(scale - 128): what stands for 1 / 2.
std::uint16_t half_of(unsigned scale) {
  if (scale == 255) return kInfinity;
  if (scale < 2) return static_cast<std::uint16_t>(0x20U << scale);
  return static_cast<std::uint16_t>((scale - 1) << 7);
}

/// Those of -6 * 2^(scale - 127).
std::uint16_t minus_six_of(unsigned scale) {
  const unsigned exponent = scale + 2;
  const unsigned size = exponent < 254 ? exponent << 7 | 0x40U : kInfinity;
  return static_cast<std::uint16_t>(kSign | size);
}

float power_of_two(std::uint8_t scale) {
  const unsigned bits = scale == 0 ? 1U << 22 : unsigned{scale} << 23;
  return std::bit_cast<float>(bits);
}

/// To nearest, ties to even; NaN stays NaN, as its first digit is set.
std::uint16_t bf16_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto to_nearest = value == value ? 0x7fffU + (bits >> 16 & 1) : 0U;
  return static_cast<std::uint16_t>((bits + to_nearest) >> 16);
}

}  // namespace

void mxfp4_as_affine(const std::uint8_t* codes, const std::uint8_t* scales,
                     std::int64_t groups, const QuantizedRows& out) {
  auto* data = static_cast<std::uint8_t*>(out.data);
  auto* halves = static_cast<std::uint16_t*>(out.scales);
  auto* biases = static_cast<std::uint16_t*>(out.biases);
  for (std::int64_t group = 0; group < groups; ++group) {
    halves[group] = half_of(scales[group]);
    biases[group] = minus_six_of(scales[group]);
  }
  // Eight codes fill four bytes, and five when they are widened.
  for (std::int64_t i = 0; i < groups * (kMxGroup / 8); ++i) {
    std::uint64_t eight = 0;
    for (int pair = 0; pair < 4; ++pair) {
      eight |= std::uint64_t{kWidened[codes[4 * i + pair]]} << (10 * pair);
    }
    for (int byte = 0; byte < 5; ++byte) {
      data[5 * i + byte] = static_cast<std::uint8_t>(eight >> (8 * byte));
    }
  }
}

void mxfp8_as_bf16(const std::uint8_t* codes, const std::uint8_t* scales,
                   std::int64_t groups, std::uint16_t* out) {
  for (std::int64_t group = 0; group < groups; ++group) {
    const float scale = power_of_two(scales[group]);
    for (int i = 0; i < kMxGroup; ++i) {
      out[i] = bf16_of(scale * from_e4m3(codes[i]));
    }
    codes += kMxGroup;
    out += kMxGroup;
  }
}

void nvfp4_as_bf16(const std::uint8_t* codes, const std::uint8_t* scales,
                   std::int64_t groups, std::uint16_t* out) {
  for (std::int64_t group = 0; group < groups; ++group) {
    const float half = from_e4m3(scales[group]) / 2;
    std::array<std::uint16_t, kTwice.size()> values;
    for (std::size_t code = 0; code < values.size(); ++code) {
      values[code] = bf16_of(half * static_cast<float>(kTwice[code]));
    }
    for (int pair = 0; pair < kNvGroup / 2; ++pair) {
      *out++ = values[codes[pair] % 16];
      *out++ = values[codes[pair] / 16];
    }
    codes += kNvGroup / 2;
  }
}

}  // namespace llamlx
