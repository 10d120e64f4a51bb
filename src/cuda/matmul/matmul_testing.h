#pragma once

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
  std::vector<std::uint32_t> scales;  ///< numbers of layout.type
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

inline TestWeight random_weight(const PackedLayout& layout, int group, int rows,
                                int cols, std::mt19937& random) {
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

/// Those that matrix units of 16 bits multiply.
inline std::vector<PackedLayout> layouts_of_16_bits() {
  auto result = affine_layouts();
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
