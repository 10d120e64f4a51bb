#pragma once

// What quantize.inl.h needs of an instruction set, in plain C++.

#include <cstdint>
#include <cstring>

namespace llamlx {
namespace {

template <typename Simd>
struct CodesInWords {
  static constexpr int kStep = 8;
  static constexpr int kSlack = 8;

  static void store(std::uint8_t* p, typename Simd::F a) {
    // 2^23: what is left of a float's bits then are the integer, rounded.
    constexpr float kNoFraction = 8388608;
    float values[Simd::kLanes];
    Simd::store(values, Simd::add(a, Simd::set1(kNoFraction)));
    for (int i = 0; i < Simd::kLanes; ++i) {
      std::uint32_t bits;
      std::memcpy(&bits, values + i, sizeof(bits));
      p[i] = static_cast<std::uint8_t>(bits);
    }
  }

  /// Closes the gaps between neighbours, then between pairs, then fours.
  static void pack(const std::uint8_t* p, int bits, std::uint8_t* out) {
    std::uint64_t codes;
    std::memcpy(&codes, p, sizeof(codes));
    codes = close(codes, 0x00ff00ff00ff00ff, 8, bits);
    codes = close(codes, 0x0000ffff0000ffff, 16, 2 * bits);
    codes = close(codes, 0x00000000ffffffff, 32, 4 * bits);
    std::memcpy(out, &codes, sizeof(codes));
  }

  static std::uint64_t close(std::uint64_t codes, std::uint64_t even, int from,
                             int to) {
    return (codes & even) | (codes >> from & even) << to;
  }
};

}  // namespace
}  // namespace llamlx
