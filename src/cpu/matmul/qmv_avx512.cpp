#include "cpu/simd/simd_avx512.h"

namespace llamlx {
namespace {

struct alignas(64) Table {
  float value[32];
};

// Of 32 numbers the low `bits` bits, as a code about zero.
template <int bits>
constexpr Table kTable = [] {
  Table table{};
  constexpr int kZero = 1 << (bits - 1);
  for (int i = 0; i < 32; ++i) {
    table.value[i] = static_cast<float>(i % (2 * kZero) - kZero) / (2 * kZero);
  }
  return table;
}();

struct Words {
  using I = __m512i;
  static constexpr int kRegisters = 32;

  static constexpr int codes_of(int bits) {
    return bits == 2 ? 16 : bits <= 4 ? 8 : 4;
  }
  static __mmask64 bytes_below(int count) {
    return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
  }
  static I load_bytes(const unsigned char* p, int bytes) {
    return _mm512_maskz_loadu_epi8(bytes_below(bytes), p);
  }
  template <int bits>
  static I load(const unsigned char* p, int lanes) {
    if constexpr (codes_of(bits) * bits == 32) {
      return _mm512_maskz_loadu_epi32(Simd::lanes_below(lanes), p);
    } else if constexpr (codes_of(bits) * bits == 24) {
      return spread_24(load_bytes(p, lanes < 16 ? 3 * lanes : 48));
    } else {
      return spread_20(load_bytes(p, lanes < 16 ? lanes * 5 / 2 : 40));
    }
  }
  // Three bytes to each lane.
  static I spread_24(I bytes) {
    const I quarters = _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11),
        bytes);
    return _mm512_shuffle_epi8(
        quarters, _mm512_broadcast_i32x4(_mm_setr_epi8(
                      0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1)));
  }
  // Two and a half.
  static I spread_20(I bytes) {
    const I quarters = _mm512_permutexvar_epi16(
        _mm512_set_epi16(19, 19, 19, 19, 18, 17, 16, 15, 14, 14, 14, 14, 13, 12,
                         11, 10, 9, 9, 9, 9, 8, 7, 6, 5, 4, 4, 4, 4, 3, 2, 1,
                         0),
        bytes);
    const I lanes = _mm512_shuffle_epi8(
        quarters, _mm512_broadcast_i32x4(_mm_setr_epi8(
                      0, 1, 2, -1, 2, 3, 4, -1, 5, 6, 7, -1, 7, 8, 9, -1)));
    return _mm512_srlv_epi32(
        lanes, _mm512_broadcast_i32x4(_mm_setr_epi32(0, 4, 0, 4)));
  }
  template <int bits, int k>
  static __m512 centred(I words) {
    if constexpr (bits <= 5) {
      // Of an index only the low four (five) bits count; where a code has
      // fewer, the next one's choose among equals.
      if constexpr (k > 0) words = _mm512_srli_epi32(words, k * bits);
      const __m512 low = _mm512_load_ps(kTable<bits>.value);
      if constexpr (bits < 5) return _mm512_permutexvar_ps(words, low);
      return _mm512_permutex2var_ps(low, words,
                                    _mm512_load_ps(kTable<bits>.value + 16));
    }
    constexpr int kLeft = 23 - bits - k * bits;
    if constexpr (kLeft > 0) {
      words = _mm512_slli_epi32(words, kLeft);
    } else if constexpr (kLeft < 0) {
      words = _mm512_srli_epi32(words, -kLeft);
    }
    constexpr int kAndOr = 0xea;  // (a & b) | c
    return _mm512_sub_ps(
        _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
            words, _mm512_set1_epi32(((1 << bits) - 1) << (23 - bits)),
            _mm512_set1_epi32(0x3f800000), kAndOr)),
        _mm512_set1_ps(1.5f));
  }
  static __m512 even(I words) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
  }
  static __m512 odd(I words) {
    return _mm512_castsi512_ps(
        _mm512_and_si512(words, _mm512_set1_epi32(-0x10000)));
  }
  using Tops = I;
  static Tops tops(const unsigned char* p) {
    return _mm512_broadcast_i32x4(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static void unpack(const unsigned char* codes, const unsigned char* low,
                     Tops tops, I (&words)[2]) {
    const I both = _mm512_broadcast_i64x4(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes)));
    constexpr __mmask32 kUpper = 0xffff0000;
    const I high = _mm512_shuffle_epi8(
        tops, _mm512_and_si512(_mm512_mask_srli_epi16(both, kUpper, both, 4),
                               _mm512_set1_epi8(15)));
    const I lower = _mm512_loadu_si512(low);
    words[0] = _mm512_unpacklo_epi8(lower, high);
    words[1] = _mm512_unpackhi_epi8(lower, high);
  }
  static __m512 kept(__m512 vector) {
    __asm__("" : "+v"(vector));
    return vector;
  }
  static I iota() {
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
                             15);
  }
  static I advance(I lanes) {
    return _mm512_add_epi32(lanes, _mm512_set1_epi32(16));
  }
  static I shifted(I lanes, int count) {
    return _mm512_srl_epi32(lanes, _mm_cvtsi32_si128(count));
  }
  static __m512 pick(__m512 groups, I which) {
    return _mm512_permutexvar_ps(which, groups);
  }
  static __m256i load_halves(const unsigned char* p, int count) {
    return _mm256_maskz_loadu_epi16(Simd::lanes_below(count), p);
  }
  static __m512 load_f16(const unsigned char* p, int count) {
    return _mm512_cvtph_ps(load_halves(p, count));
  }
  static __m512 load_bf16(const unsigned char* p, int count) {
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(load_halves(p, count)), 16));
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/kernel_list.h"
#include "cpu/matmul/qmv_f32.inl.h"

namespace llamlx {

const MatmulKernel qmv_avx512{
    "qmv_avx512", Isa::avx512,   1,       8, kRows, supports, prepared_bytes,
    prepare,      scratch_bytes, multiply};

}  // namespace llamlx
