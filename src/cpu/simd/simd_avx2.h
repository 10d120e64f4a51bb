#pragma once

// Eight floats: AVX2, FMA, F16C. See src/cpu/README.md.

#include <cstdint>
#include <cstring>

#include <immintrin.h>

namespace llamlx {
namespace {

struct Simd {
  using F = __m256;
  static constexpr int kLanes = 8;

  static F zero() { return _mm256_setzero_ps(); }
  static F set1(float a) { return _mm256_set1_ps(a); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, F a) { _mm256_storeu_ps(p, a); }
  static __m256i lanes_below(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static F load_part(const float* p, int count) {
    return _mm256_maskload_ps(p, lanes_below(count));
  }
  static void store_part(float* p, F a, int count) {
    _mm256_maskstore_ps(p, lanes_below(count), a);
  }
  static __m128i load_halves(const std::uint16_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  static F load_bf16(const std::uint16_t* p) {
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(load_halves(p)), 16));
  }
  static F load_f16(const std::uint16_t* p) {
    return _mm256_cvtph_ps(load_halves(p));
  }
  static void load_bf16_pairs(const std::uint16_t* p, F& even, F& odd) {
    const __m256i pairs =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    even = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
    odd = _mm256_castsi256_ps(
        _mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000)));
  }
  static void load_f16_pairs(const std::uint16_t* p, F& even, F& odd) {
    const __m256i pairs =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    const __m256i apart = _mm256_permute4x64_epi64(
        _mm256_shuffle_epi8(pairs, order), _MM_SHUFFLE(3, 1, 2, 0));
    even = _mm256_cvtph_ps(_mm256_castsi256_si128(apart));
    odd = _mm256_cvtph_ps(_mm256_extracti128_si256(apart, 1));
  }
  static void store_bf16(std::uint16_t* p, F a) {
    const __m256i bits = _mm256_castps_si256(a);
    const __m256i odd =
        _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(
        bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i is_nan =
        _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    const __m256i high =
        _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
    const __m256i packed = _mm256_permute4x64_epi64(
        _mm256_packus_epi32(high, high), _MM_SHUFFLE(3, 1, 2, 0));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm256_castsi256_si128(packed));
  }
  static void store_f16(std::uint16_t* p, F a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
  }

  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F round(F a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static F pow2(F n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(
        _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
  }
  static F load_words(const void* p) {
    return _mm256_castsi256_ps(
        _mm256_loadu_si256(static_cast<const __m256i*>(p)));
  }
  template <int at, int bits>
  static F number_at(F word, F next) {
    __m256i number = _mm256_castps_si256(word);
    if constexpr (at > 0) number = _mm256_srli_epi32(number, at);
    if constexpr (at + bits > 32) {
      const __m256i rest =
          _mm256_slli_epi32(_mm256_castps_si256(next), 32 - at);
      number = _mm256_or_si256(number, rest);
    }
    if constexpr (at + bits != 32) {
      number = _mm256_and_si256(number, _mm256_set1_epi32((1 << bits) - 1));
    }
    return _mm256_cvtepi32_ps(number);
  }
  static void transpose(F (&rows)[kLanes]) {
    F fours[kLanes];
    for (int i = 0; i < kLanes; i += 4) {
      const F low = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
      const F high = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
      const F low_next = _mm256_unpacklo_ps(rows[i + 2], rows[i + 3]);
      const F high_next = _mm256_unpackhi_ps(rows[i + 2], rows[i + 3]);
      fours[i] = _mm256_shuffle_ps(low, low_next, 0x44);
      fours[i + 1] = _mm256_shuffle_ps(low, low_next, 0xee);
      fours[i + 2] = _mm256_shuffle_ps(high, high_next, 0x44);
      fours[i + 3] = _mm256_shuffle_ps(high, high_next, 0xee);
    }
    for (int j = 0; j < 4; ++j) {
      rows[j] = _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x20);
      rows[4 + j] = _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x31);
    }
  }

  static float sum(F a) {
    __m128 half =
        _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
  }
  static float largest(F a) {
    __m128 half =
        _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
  }
};

}  // namespace
}  // namespace llamlx
