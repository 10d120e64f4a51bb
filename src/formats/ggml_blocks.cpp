#include "formats/ggml_blocks.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>

#include <mlx/types/half_types.h>

namespace llamlx {
namespace {

namespace mx = mlx::core;

constexpr std::uint64_t kLowHalves = 0x0f0f0f0f0f0f0f0f;

template <typename T>
T read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

float read_half(const std::byte* at) {
  return static_cast<float>(
      std::bit_cast<mx::float16_t>(read<std::uint16_t>(at)));
}

int byte_at(const std::byte* bytes, int i) {
  return std::to_integer<int>(bytes[i]);
}

/// Eight bytes below 16 become eight neighbouring 4-bit fields.
std::uint32_t join_nibbles(std::uint64_t bytes) {
  bytes = (bytes | bytes >> 4) & 0x00ff00ff00ff00ff;
  bytes = (bytes | bytes >> 8) & 0x0000ffff0000ffff;
  return static_cast<std::uint32_t>(bytes | bytes >> 16);
}

/// The low or the high halves of `count` bytes, as MLX packs them.
void pack_halves(const std::byte* bytes, int count, bool high,
                 std::byte* packed) {
  for (int i = 0; i < count; i += 8, packed += 4) {
    const auto eight = read<std::uint64_t>(bytes + i) >> (high ? 4 : 0);
    const auto word = join_nibbles(eight & kLowHalves);
    std::memcpy(packed, &word, sizeof(word));
  }
}

/// A group's nibbles and fifth bits, of which `fifth(i)` is 0 or 1: 20 bytes.
template <typename Nibble, typename Fifth>
void pack_fives(const Nibble& nibble, const Fifth& fifth, std::byte* packed) {
  for (int first = 0; first < kGgmlGroupSize; first += 8, packed += 5) {
    std::uint64_t eight = 0;
    for (int i = 0; i < 8; ++i) {
      const int code = nibble(first + i) | fifth(first + i) << 4;
      eight |= static_cast<std::uint64_t>(code) << (5 * i);
    }
    std::memcpy(packed, &eight, 5);
  }
}

template <int nibbles_at>
void pack_4(const std::byte* block, std::byte* packed) {
  pack_halves(block + nibbles_at, 16, false, packed);
  pack_halves(block + nibbles_at, 16, true, packed + 8);
}

template <int fifths_at>
void pack_5(const std::byte* block, std::byte* packed) {
  const auto fifths = read<std::uint32_t>(block + fifths_at);
  const auto* nibbles = block + fifths_at + 4;
  pack_fives(
      [=](int i) { return byte_at(nibbles, i % 16) >> (i < 16 ? 0 : 4) & 15; },
      [=](int i) { return static_cast<int>(fifths >> i & 1); }, packed);
}

/// int8 with 128 added.
void pack_8(const std::byte* block, std::byte* packed) {
  for (int i = 0; i < kGgmlGroupSize; ++i) {
    packed[i] = block[2 + i] ^ std::byte{0x80};
  }
}

/// d (q - offset).
template <int offset>
void read_offset(const std::byte* block, GgmlGroup* groups) {
  const float d = read_half(block);
  groups[0] = {d, static_cast<float>(-offset) * d};
}

/// d q + m.
void read_bias(const std::byte* block, GgmlGroup* groups) {
  groups[0] = {read_half(block), read_half(block + 2)};
}

void read_k_groups(const std::byte* block, GgmlGroup* groups) {
  const float d = read_half(block);
  const float m = read_half(block + 2);
  const auto* bytes = block + 4;
  for (int g = 0; g < 8; ++g) {
    int scale = byte_at(bytes, g) & 63;
    int offset = byte_at(bytes, g + 4) & 63;
    if (g >= 4) {
      scale = (byte_at(bytes, g + 4) & 15) | byte_at(bytes, g - 4) >> 6 << 4;
      offset = byte_at(bytes, g + 4) >> 4 | byte_at(bytes, g) >> 6 << 4;
    }
    groups[g] = {d * static_cast<float>(scale),
                 -m * static_cast<float>(offset)};
  }
}

void pack_4_k(const std::byte* block, std::byte* packed) {
  const auto* nibbles = block + 16;
  for (int k = 0; k < 4; ++k, nibbles += 32, packed += 32) {
    pack_halves(nibbles, 32, false, packed);
    pack_halves(nibbles, 32, true, packed + 16);
  }
}

void pack_5_k(const std::byte* block, std::byte* packed) {
  const auto* fifths = block + 16;
  for (int g = 0; g < 8; ++g, packed += 20) {
    const auto* nibbles = fifths + 32 + std::ptrdiff_t{g / 2} * 32;
    const int shift = g % 2 * 4;
    pack_fives([=](int i) { return byte_at(nibbles, i) >> shift & 15; },
               [=](int i) { return byte_at(fifths, i) >> g & 1; }, packed);
  }
}

constexpr GgmlAffineType kAffineTypes[] = {
    {GgmlType::q4_0, 4, 1, read_offset<8>, pack_4<2>},
    {GgmlType::q4_1, 4, 1, read_bias, pack_4<4>},
    {GgmlType::q5_0, 5, 1, read_offset<16>, pack_5<2>},
    {GgmlType::q5_1, 5, 1, read_bias, pack_5<4>},
    {GgmlType::q8_0, 8, 1, read_offset<128>, pack_8},
    {GgmlType::q4_k, 4, 8, read_k_groups, pack_4_k},
    {GgmlType::q5_k, 5, 8, read_k_groups, pack_5_k},
};

/// Two bits of value `i` of a superblock: 32 bytes hold those of 128 values.
int pair_of(const std::byte* pairs, int i) {
  return byte_at(pairs, i / 128 * 32 + i % 32) >> (i % 128 / 32 * 2) & 3;
}

float bound_6_k(const std::byte* block) {
  return std::abs(read_half(block + 208)) * 128 * 32;
}

void expand_6_k(const std::byte* block, float* values) {
  const float d = read_half(block + 208);
  for (int i = 0; i < kGgmlSuperblock; ++i) {
    const int low = byte_at(block, i / 128 * 64 + i % 64);
    const int q = (low >> (i % 128 < 64 ? 0 : 4) & 15) | pair_of(block + 128, i)
                                                             << 4;
    const auto scale = static_cast<std::int8_t>(byte_at(block + 192, i / 16));
    values[i] = d * static_cast<float>(scale * (q - 32));
  }
}

float bound_3_k(const std::byte* block) {
  return std::abs(read_half(block + 108)) * 32 * 4;
}

void expand_3_k(const std::byte* block, float* values) {
  const float d = read_half(block + 108);
  const auto* scales = block + 96;
  for (int i = 0; i < kGgmlSuperblock; ++i) {
    const int g = i / 16;
    const int scale = (byte_at(scales, g % 8) >> (g < 8 ? 0 : 4) & 15) |
                      (byte_at(scales, 8 + g % 4) >> (g / 4 * 2) & 3) << 4;
    const int third = byte_at(block, i % 32) >> (i / 32) & 1;
    const int q = pair_of(block + 32, i) | third << 2;
    values[i] = d * static_cast<float>((scale - 32) * (q - 4));
  }
}

float bound_2_k(const std::byte* block) {
  return std::abs(read_half(block + 80)) * 15 * 3 +
         std::abs(read_half(block + 82)) * 15;
}

void expand_2_k(const std::byte* block, float* values) {
  const float d = read_half(block + 80);
  const float m = read_half(block + 82);
  for (int i = 0; i < kGgmlSuperblock; ++i) {
    const int scale = byte_at(block, i / 16);
    values[i] = d * static_cast<float>((scale & 15) * pair_of(block + 16, i)) -
                m * static_cast<float>(scale >> 4);
  }
}

constexpr GgmlExpandedType kExpandedTypes[] = {
    {GgmlType::q2_k, bound_2_k, expand_2_k},
    {GgmlType::q3_k, bound_3_k, expand_3_k},
    {GgmlType::q6_k, bound_6_k, expand_6_k},
};

template <typename Table>
auto find_type(const Table& table, GgmlType type)
    -> decltype(std::data(table)) {
  for (const auto& row : table) {
    if (row.type == type) return &row;
  }
  return nullptr;
}

}  // namespace

const GgmlAffineType* find_ggml_affine_type(GgmlType type) {
  return find_type(kAffineTypes, type);
}

const GgmlExpandedType* find_ggml_expanded_type(GgmlType type) {
  return find_type(kExpandedTypes, type);
}

}  // namespace llamlx
