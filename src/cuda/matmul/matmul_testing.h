#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "cuda/intrinsics.h"
#include "cuda/matmul/pack.h"

namespace llamlx::cuda {

/// A weight with random values as MLX lays it out, and those values.
struct TestWeight {
  PackedLayout layout{};
  int group = 0;  ///< of MLX's: 32, 64 or 128
  int rows = 0;
  int cols = 0;
  std::vector<std::uint32_t> data;
  std::vector<std::uint32_t> scales;  ///< numbers of layout.type, or bytes
  std::vector<std::uint32_t> biases;
  std::vector<double> values;      ///< [rows, cols]
  std::vector<double> magnitudes;  ///< |scale| code + |bias|, or |value|

  PlainWeight view() const {
    return {data.data(), scales.data(), biases.data(), rows};
  }
};

inline std::string to_string(const PackedLayout& layout) {
  static constexpr const char* kNames[] = {"f32", "f16", "bf16"};
  const std::string type = kNames[static_cast<int>(layout.type)];
  if (layout.bits == 0) return type;
  if (layout.has_floats) return layout.bits == 4 ? "nvfp4" : "mxfp8";
  return "affine" + std::to_string(layout.bits) + "_g" +
         std::to_string(layout.group) + "_" + type;
}

/// Writes number `at` of an array of numbers of `type`; returns what it became.
inline double put_number(std::vector<std::uint32_t>& array, NumberType type,
                         std::size_t at, float value) {
  if (type == NumberType::f32) {
    array[at] = __float_as_uint(value);
    return value;
  }
  const auto half = type == NumberType::f16 ? emulator::to_f16(value)
                                            : emulator::to_bf16(value);
  reinterpret_cast<std::uint16_t*>(array.data())[at] = half;
  return type == NumberType::f16 ? emulator::from_f16(half)
                                 : emulator::from_bf16(half);
}

/// What a code of so many digits after a sign and an exponent stands for, which
/// is of e2m1 (1) and e4m3 (3).
inline double float_value(unsigned code, int digits) {
  const int bias = digits == 1 ? 1 : 7;
  const unsigned sign = digits == 1 ? 8 : 128;
  const unsigned steps = 1U << digits;
  const int exponent = static_cast<int>(code % sign / steps);
  const unsigned whole = code % steps + (exponent > 0 ? steps : 0);
  const double size = std::ldexp(whole, std::max(exponent, 1) - bias - digits);
  return code < sign ? size : -size;
}

/// Puts code `at` of a weight of nvfp4 or mxfp8, and the value that it has
/// there by the scale of its group, in bfloat16.
inline void put_float(TestWeight& w, std::size_t at, unsigned code) {
  const bool is_e2m1 = w.layout.bits == 4;
  const auto scale = reinterpret_cast<const unsigned char*>(
      w.scales.data())[at / static_cast<std::size_t>(w.group)];
  const auto bit = at * static_cast<std::size_t>(w.layout.bits);
  w.data[bit / 32] |= code << (bit % 32);
  const double value =
      float_value(code, is_e2m1 ? 1 : 3) *
      (is_e2m1 ? float_value(scale, 3) : std::ldexp(1.0, int{scale} - 127));
  w.values[at] =
      emulator::from_bf16(emulator::to_bf16(static_cast<float>(value)));
  w.magnitudes[at] = std::abs(value);
}

/// Zeros of nvfp4 or mxfp8.
inline TestWeight float_weight(const PackedLayout& layout, int rows, int cols) {
  const auto size = static_cast<std::size_t>(rows) * cols;
  TestWeight w{layout, layout.group, rows, cols, {}, {}, {}, {}, {}};
  w.data.resize(size * layout.bits / 32);
  w.scales.resize((size / layout.group + 3) / 4);
  w.values.resize(size);
  w.magnitudes.resize(size);
  return w;
}

inline TestWeight random_floats(const PackedLayout& layout, int rows, int cols,
                                std::mt19937& random) {
  auto w = float_weight(layout, rows, cols);
  const auto size = w.values.size();
  for (std::size_t i = 0; i < size / layout.group; ++i) {
    // From 2^-4 to 2^-2; beside e4m3's larger numbers from 2^-11 to 2^-7.
    const auto scale =
        layout.bits == 4 ? 25 + random() % 16 : 116 + random() % 5;
    reinterpret_cast<unsigned char*>(w.scales.data())[i] =
        static_cast<unsigned char>(scale);
  }
  for (std::size_t i = 0; i < size; ++i) {
    const auto code = random() % (1U << layout.bits);
    put_float(w, i, code % 128 == 127 ? 0 : code);  // no NaN
  }
  return w;
}

inline TestWeight random_weight(const PackedLayout& layout, int group, int rows,
                                int cols, std::mt19937& random) {
  if (layout.has_floats) return random_floats(layout, rows, cols, random);
  TestWeight w{layout, group, rows, cols, {}, {}, {}, {}, {}};
  const auto size = static_cast<std::size_t>(rows) * cols;
  std::normal_distribution<float> normal;
  w.values.resize(size);
  w.magnitudes.resize(size);
  if (layout.bits == 0) {
    w.data.resize(size);
    for (std::size_t i = 0; i < size; ++i) {
      w.values[i] = put_number(w.data, layout.type, i, normal(random));
      w.magnitudes[i] = std::abs(w.values[i]);
    }
    return w;
  }
  const auto groups = size / group;
  w.data.resize(size * layout.bits / 32);
  w.scales.resize(groups);
  w.biases.resize(groups);
  for (std::size_t g = 0; g < groups; ++g) {
    const double scale =
        put_number(w.scales, layout.type, g, 0.02F * normal(random));
    const double bias =
        put_number(w.biases, layout.type, g, 0.2F * normal(random));
    for (int j = 0; j < group; ++j) {
      const auto at = g * group + j;
      const std::uint32_t code = random() % (1U << layout.bits);
      const auto bit = at * layout.bits;
      w.data[bit / 32] |= code << (bit % 32);
      if (bit % 32 + layout.bits > 32) {
        w.data[bit / 32 + 1] |= code >> (32 - bit % 32);
      }
      w.values[at] = scale * code + bias;
      w.magnitudes[at] = std::abs(scale) * code + std::abs(bias);
    }
  }
  return w;
}

/// A packed weight, in the emulator's memory, or as many as there are experts.
struct Packed {
  PackedLayout layout{};
  int rows = 0;  ///< of one
  int cols = 0;
  int row_blocks = 0;  ///< of one
  int tiles = 0;
  std::vector<Words4> bytes;

  const unsigned char* data() const {
    return reinterpret_cast<const unsigned char*>(bytes.data());
  }
  /// From one expert's to the next's.
  long long expert_bytes() const {
    return static_cast<long long>(row_blocks) * tiles * tile_bytes(layout);
  }
};

/// Packs weights by the kernel that does it, as PackArgs says; `sources` have
/// the rows of all `experts`.
Packed pack_weights(const std::vector<const TestWeight*>& sources,
                    bool interleaved = false, int experts = 1);

inline int ceil_div(int n, int step) { return (n + step - 1) / step; }

inline constexpr NumberType kNumberTypes[] = {NumberType::f32, NumberType::f16,
                                              NumberType::bf16};

inline std::vector<PackedLayout> affine_layouts() {
  std::vector<PackedLayout> result;
  for (const auto type : kNumberTypes) {
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      for (const int group : {32, 64}) result.push_back({type, bits, group});
    }
  }
  return result;
}

/// Those of codes.
inline std::vector<PackedLayout> code_layouts() {
  auto result = affine_layouts();
  result.push_back(kNvfp4Layout);
  result.push_back(kMxfp8Layout);
  return result;
}

/// Those that matrix units of 16 bits multiply.
inline std::vector<PackedLayout> layouts_of_16_bits() {
  auto result = code_layouts();
  result.push_back({NumberType::f16, 0, 0});
  result.push_back({NumberType::bf16, 0, 0});
  return result;
}

/// All layouts there are.
inline std::vector<PackedLayout> all_layouts() {
  auto result = layouts_of_16_bits();
  result.push_back({NumberType::f32, 0, 0});
  return result;
}

}  // namespace llamlx::cuda
