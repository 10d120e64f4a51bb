#pragma once

// Products of pairs of bfloat16. An operand is rounded to one, or (kPlanes 2)
// to the sum of two, its nearest and the nearest of the rest: 16 bits or more.
// Included after simd_avx512.h, kPlanes and kBlockWords.

#include <cstdint>

#include <immintrin.h>

namespace llamlx {
namespace {

struct Product {
  static constexpr int kValues = 2;
  static constexpr int kPlanes = llamlx::kPlanes;
  static constexpr int kPlaneWords = kBlockWords * 16;  // of 16 rows of w
  using F = Simd::F;

  // 32 neighbours of a row as they are multiplied.
  template <int plane>
  static F load_f32(const float* p) {
    return round<plane>(Simd::load(p), Simd::load(p + 16));
  }
  template <int plane>
  static F load_f16(const std::uint16_t* p) {
    return round<plane>(Simd::load_f16(p), Simd::load_f16(p + 16));
  }
  template <int plane>
  static F load_bf16(const std::uint16_t* p) {
    return plane == 0 ? Simd::load_words(p) : Simd::zero();
  }

  static F multiply_add(F x, F w, F sum) {
    return _mm512_dpbf16_ps(sum, as_bf16(x), as_bf16(w));
  }

  // The values of two neighbouring columns of 16 rows, a pair a row.
  static void store_pair(float* panel, int, F first, F second) {
    store_round<0>(panel, first, second);
    if constexpr (kPlanes == 2) {
      store_round<1>(panel + kPlaneWords, first, second);
    }
  }

 private:
  static __m512bh as_bf16(F a) { return reinterpret_cast<__m512bh>(a); }

  // The numbers of `low`, then those of `high`.
  static __m512i join(F low, F high) {
    return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
  }

  // What the first plane leaves of `a`: exact, as it has fewer bits than `a`.
  static F rest_of(F a) {
    const __m512i nearest = _mm512_slli_epi32(
        _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a))),
        16);
    return Simd::sub(a, _mm512_castsi512_ps(nearest));
  }

  template <int plane>
  static F round(F low, F high) {
    if constexpr (plane == 1) return round<0>(rest_of(low), rest_of(high));
    return _mm512_castsi512_ps(join(low, high));
  }

  template <int plane>
  static void store_round(float* to, F first, F second) {
    if constexpr (plane == 1) {
      store_round<0>(to, rest_of(first), rest_of(second));
    } else {
      const __m512i alternate = _mm512_set_epi16(
          31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
          22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
      Simd::store(to, _mm512_castsi512_ps(_mm512_permutexvar_epi16(
                          alternate, join(first, second))));
    }
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmm_pack.inl.h"
