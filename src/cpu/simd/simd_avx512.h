#pragma once

// Sixteen floats: AVX-512 F, BW, DQ, VL. See src/cpu/README.md.

#include <cstdint>
#include <cstring>

#include <immintrin.h>

namespace llamlx {
namespace {

struct Simd {
  using F = __m512;
  static constexpr int kLanes = 16;

  static F zero() { return _mm512_setzero_ps(); }
  static F set1(float a) { return _mm512_set1_ps(a); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F a) { _mm512_storeu_ps(p, a); }
  static __mmask16 lanes_below(int count) {
    return static_cast<__mmask16>(count >= kLanes ? 0xffff
                                  : count <= 0    ? 0
                                                  : (1u << count) - 1);
  }
  static F load_part(const float* p, int count) {
    return _mm512_maskz_loadu_ps(lanes_below(count), p);
  }
  static void store_part(float* p, F a, int count) {
    _mm512_mask_storeu_ps(p, lanes_below(count), a);
  }
  static __m256i load_halves(const std::uint16_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static F load_bf16(const std::uint16_t* p) {
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(load_halves(p)), 16));
  }
  static F load_f16(const std::uint16_t* p) {
    return _mm512_cvtph_ps(load_halves(p));
  }
  static void load_bf16_pairs(const std::uint16_t* p, F& even, F& odd) {
    const __m512i pairs = _mm512_loadu_si512(p);
    even = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
    odd = _mm512_castsi512_ps(
        _mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000)));
  }
  static void load_f16_pairs(const std::uint16_t* p, F& even, F& odd) {
    const __m512i pairs = _mm512_loadu_si512(p);
    even = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs));
    odd = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16)));
  }
  static void store_bf16(std::uint16_t* p, F a) {
    const __m512i bits = _mm512_castps_si512(a);
    const __m512i odd =
        _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(
        bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 is_nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    const __m512i kept = _mm512_mask_or_epi32(rounded, is_nan, bits,
                                              _mm512_set1_epi32(0x400000));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16)));
  }
  static void store_f16(std::uint16_t* p, F a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
  }

  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F round(F a) {
    return _mm512_roundscale_ps(a,
                                _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static F pow2(F n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
  }
  static F load_words(const void* p) { return _mm512_loadu_ps(p); }
  template <int at, int bits>
  static F number_at(F word, F next) {
    __m512i number = _mm512_castps_si512(word);
    if constexpr (at > 0) number = _mm512_srli_epi32(number, at);
    if constexpr (at + bits > 32) {
      const __m512i rest =
          _mm512_slli_epi32(_mm512_castps_si512(next), 32 - at);
      number = _mm512_or_si512(number, rest);
    }
    if constexpr (at + bits != 32) {
      number = _mm512_and_si512(number, _mm512_set1_epi32((1 << bits) - 1));
    }
    return _mm512_cvtepi32_ps(number);
  }
  static void transpose(F (&rows)[kLanes]) {
    F pairs[kLanes];
    for (int i = 0; i < kLanes; i += 2) {
      pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
      pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    // fours[4 * i + j]: of rows 4i to 4i + 3, columns j, 4 + j, 8 + j, 12 + j.
    F fours[kLanes];
    for (int i = 0; i < kLanes; i += 4) {
      const F* four = pairs + i;
      fours[i] = unpack_low(four[0], four[2]);
      fours[i + 1] = unpack_high(four[0], four[2]);
      fours[i + 2] = unpack_low(four[1], four[3]);
      fours[i + 3] = unpack_high(four[1], four[3]);
    }
    for (int j = 0; j < 4; ++j) {
      const F low_even = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0x88);
      const F low_odd = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0xdd);
      const F high_even =
          _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0x88);
      const F high_odd =
          _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0xdd);
      rows[j] = _mm512_shuffle_f32x4(low_even, high_even, 0x88);
      rows[8 + j] = _mm512_shuffle_f32x4(low_even, high_even, 0xdd);
      rows[4 + j] = _mm512_shuffle_f32x4(low_odd, high_odd, 0x88);
      rows[12 + j] = _mm512_shuffle_f32x4(low_odd, high_odd, 0xdd);
    }
  }
  static F unpack_low(F a, F b) {
    return _mm512_castpd_ps(
        _mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  static F unpack_high(F a, F b) {
    return _mm512_castpd_ps(
        _mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }

  static float sum(F a) { return _mm512_reduce_add_ps(a); }
  static float largest(F a) { return _mm512_reduce_max_ps(a); }
};

}  // namespace
}  // namespace llamlx
