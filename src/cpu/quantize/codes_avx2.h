#pragma once

// Packing of codes with AVX2, for it and what builds upon it.

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

namespace llamlx {
namespace {

/// What quantize.inl.h needs, but for store().
struct CodesAvx2 {
  static constexpr int kStep = 32;
  static constexpr int kSlack = 16;

  /// Neighbours become one number, then pairs, then fours; then each half of
  /// the vector has two runs of `bits` bytes, which are brought together.
  static void pack(const std::uint8_t* p, int bits, std::uint8_t* out) {
    __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    if (bits < 8) {
      const int pair = 1 | 1 << (bits + 8);
      codes = _mm256_maddubs_epi16(codes,
                                   _mm256_set1_epi16(static_cast<short>(pair)));
      codes =
          _mm256_madd_epi16(codes, _mm256_set1_epi32(1 | 1 << (2 * bits + 16)));
      const __m256i odd =
          _mm256_slli_epi64(_mm256_srli_epi64(codes, 32), 4 * bits);
      const __m256i even =
          _mm256_and_si256(codes, _mm256_set1_epi64x(0xffffffff));
      codes = _mm256_shuffle_epi8(_mm256_or_si256(even, odd),
                                  _mm256_broadcastsi128_si256(runs(bits)));
    }
    auto* to = reinterpret_cast<__m128i*>(out);
    _mm_storeu_si128(to, _mm256_castsi256_si128(codes));
    to =
        reinterpret_cast<__m128i*>(out + static_cast<std::ptrdiff_t>(2) * bits);
    _mm_storeu_si128(to, _mm256_extracti128_si256(codes, 1));
  }

  /// Bytes 0 .. bits - 1 and 8 .. 8 + bits - 1.
  static __m128i runs(int bits) {
    const __m128i at =
        _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m128i second =
        _mm_cmpgt_epi8(at, _mm_set1_epi8(static_cast<char>(bits - 1)));
    return _mm_add_epi8(
        at, _mm_and_si128(second, _mm_set1_epi8(static_cast<char>(8 - bits))));
  }
};

}  // namespace
}  // namespace llamlx
