#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <span>

#include "cpu/quantize/e4m3.h"
#include "cpu/quantize/float_codes.h"
#include "cpu/simd/simd_scalar.h"

namespace llamlx {
namespace {

/// Values [first, first + group.size()) as float32.
void load(const void* values, ValueType type, std::int64_t first,
          std::span<float> group) {
  if (type == ValueType::f32) {
    std::memcpy(group.data(), static_cast<const float*>(values) + first,
                group.size_bytes());
    return;
  }
  const auto* from = static_cast<const std::uint16_t*>(values) + first;
  if (type == ValueType::bf16) {
    for (auto& value : group) value = Simd::load_bf16(from++);
  } else {
    for (auto& value : group) value = Simd::load_f16(from++);
  }
}

float rounded(float value, ValueType type) {
  std::uint16_t half = 0;
  if (type == ValueType::f32) return value;
  if (type == ValueType::bf16) {
    Simd::store_bf16(&half, value);
    return Simd::load_bf16(&half);
  }
  Simd::store_f16(&half, value);
  return Simd::load_f16(&half);
}

void round_all(std::span<float> group, ValueType type) {
  if (type == ValueType::f32) return;
  if (type == ValueType::bf16) {
    for (auto& value : group) value = rounded(value, ValueType::bf16);
  } else {
    for (auto& value : group) value = rounded(value, ValueType::f16);
  }
}

/// The largest magnitude; if one is not finite, nor is this.
float largest_of(std::span<const float> group) {
  std::uint32_t largest = 0;
  for (const float value : group) {
    largest = std::max(largest, std::bit_cast<std::uint32_t>(value) & ~0U >> 1);
  }
  return std::bit_cast<float>(largest);
}

/// Of every group: loads it, looks whether it is finite, and has it encoded.
template <int size, typename Encode>
Finiteness each_group(const void* values, ValueType source, ValueType type,
                      std::int64_t groups, const Encode& encode) {
  Finiteness all{true, true};
  std::array<float, size> group;
  for (std::int64_t i = 0; i < groups; ++i) {
    load(values, source, i * size, group);
    all.source = all.source && std::isfinite(largest_of(group));
    round_all(group, type);
    const float largest = largest_of(group);
    all.result = all.result && std::isfinite(largest);
    encode(i, group, largest);
  }
  return all;
}

void divide_all(std::span<float> group, float by, ValueType type) {
  for (auto& value : group) value /= by;
  round_all(group, type);
}

/// The exponent of the least power of two that brings the largest of a group to
/// `most` or below. Not by a logarithm: those of float32 are whole already next
/// to powers of two.
int exponent_for(float largest, float most, ValueType type) {
  const float ratio = rounded(largest / most, type);
  if (ratio == 0 || !std::isfinite(ratio)) return 0;
  int exponent = 0;
  const float mantissa = std::frexp(ratio, &exponent);
  return mantissa == 0.5F ? exponent - 1 : exponent;
}

/// Divides a group by a power of two and returns how that is stored.
std::uint8_t divide_by_power(std::span<float> group, float largest, float most,
                             ValueType type) {
  const int exponent = exponent_for(largest, most, type);
  divide_all(group, rounded(std::ldexp(1.0F, exponent), type), type);
  return static_cast<std::uint8_t>(exponent + 127);
}

/// The code of the number of 4 bits that is nearest to `size`, of two the
/// smaller.
unsigned nearest_usual(float size) {
  constexpr float kMiddles[] = {0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5.0F};
  unsigned code = 0;
  for (const float middle : kMiddles) code += size > middle ? 1 : 0;
  return code;
}

/// The same by MLX's search, for what is so large that float32 tells no
/// differences to some or all of the numbers.
unsigned nearest_large(float size) {
  constexpr float kNumbers[] = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};
  unsigned nearest = 0;
  for (unsigned code = 1; code < std::size(kNumbers); ++code) {
    const float off = std::fabs(size - kNumbers[code]);
    if (off < std::fabs(size - kNumbers[nearest])) nearest = code;
  }
  return nearest;
}

/// Two codes of 4 bits a byte, the low half first. In loops of their own, which
/// compilers make vectors of.
template <unsigned nearest(float)>
void store_4_bits_by(std::span<const float> group, std::uint8_t* out) {
  std::array<std::uint32_t, kMxGroup> codes;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const std::uint32_t code = nearest(std::fabs(group[i]));
    const std::uint32_t sign = std::bit_cast<std::uint32_t>(group[i]) >> 28 & 8;
    codes[i] = code == 0 ? 0 : sign | code;
  }
  for (std::size_t i = 0; i < group.size(); i += 2) {
    *out++ = static_cast<std::uint8_t>(codes[i] | codes[i + 1] << 4);
  }
}

void store_4_bits(std::span<const float> group, std::uint8_t* out) {
  constexpr float kLarge = 0x1p24F;
  const auto store = largest_of(group) < kLarge
                         ? store_4_bits_by<nearest_usual>
                         : store_4_bits_by<nearest_large>;
  store(group, out);
}

std::uint8_t* bytes_of(void* memory, std::int64_t at) {
  return static_cast<std::uint8_t*>(memory) + at;
}

}  // namespace

Finiteness quantize_mxfp4(const void* values, ValueType source, ValueType type,
                          std::int64_t groups, const QuantizedRows& out) {
  return each_group<kMxGroup>(
      values, source, type, groups,
      [&](std::int64_t i, std::span<float> group, float largest) {
        *bytes_of(out.scales, i) =
            divide_by_power(group, largest, kLargestE2m1, type);
        store_4_bits(group, bytes_of(out.data, i * kMxGroup / 2));
      });
}

Finiteness quantize_mxfp8(const void* values, ValueType source, ValueType type,
                          std::int64_t groups, const QuantizedRows& out) {
  return each_group<kMxGroup>(
      values, source, type, groups,
      [&](std::int64_t i, std::span<float> group, float largest) {
        *bytes_of(out.scales, i) =
            divide_by_power(group, largest, kLargestE4m3, type);
        auto* codes = bytes_of(out.data, i * kMxGroup);
        for (const float value : group) *codes++ = to_e4m3(value);
      });
}

Finiteness quantize_nvfp4(const void* values, ValueType source, ValueType type,
                          std::int64_t groups, const QuantizedRows& out) {
  return each_group<kNvGroup>(
      values, source, type, groups,
      [&](std::int64_t i, std::span<float> group, float largest) {
        const auto scale = to_e4m3(rounded(largest / kLargestE2m1, type));
        *bytes_of(out.scales, i) = scale;
        divide_all(group, from_e4m3(scale), type);
        store_4_bits(group, bytes_of(out.data, i * kNvGroup / 2));
      });
}

}  // namespace llamlx
