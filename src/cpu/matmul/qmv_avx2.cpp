#include "cpu/simd/simd_avx2.h"

namespace llamlx {
namespace {

struct Words {
  using I = __m256i;
  static constexpr int kRegisters = 16;

  static constexpr int codes_of(int bits) {
    return bits == 2 ? 16 : bits <= 4 ? 8 : 4;
  }
  static I load_bytes(const unsigned char* p, int bytes) {
    if (bytes >= 32) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    }
    alignas(32) unsigned char part[32] = {};
    std::memcpy(part, p, static_cast<std::size_t>(bytes));
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(part));
  }
  // Bytes [0, 16) and [second, second + 16).
  static I load_halves_of(const unsigned char* p, int second) {
    const auto load = [p](int at) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + at));
    };
    return _mm256_set_m128i(load(second), load(0));
  }
  template <int bits>
  static I load(const unsigned char* p, int lanes) {
    constexpr int kLaneBits = codes_of(bits) * bits;
    if constexpr (kLaneBits == 32) {
      return load_bytes(p, 4 * lanes);
    } else {
      alignas(32) unsigned char part[32] = {};
      if (lanes < 8) {
        std::memcpy(part, p, static_cast<std::size_t>(lanes * kLaneBits / 8));
        p = part;
      }
      return kLaneBits == 24 ? spread_24(p) : spread_20(p);
    }
  }
  // Of 24 bytes, three to each lane; reads no more than those.
  static I spread_24(const unsigned char* p) {
    return _mm256_shuffle_epi8(
        load_halves_of(p, 8),
        _mm256_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1,
                         4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15,
                         -1));
  }
  // Of 20 bytes, two and a half.
  static I spread_20(const unsigned char* p) {
    const I lanes = _mm256_shuffle_epi8(
        load_halves_of(p, 4),
        _mm256_setr_epi8(0, 1, 2, -1, 2, 3, 4, -1, 5, 6, 7, -1, 7, 8, 9, -1, 6,
                         7, 8, -1, 8, 9, 10, -1, 11, 12, 13, -1, 13, 14, 15,
                         -1));
    return _mm256_srlv_epi32(lanes, _mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4));
  }
  template <int bits, int k>
  static __m256 centred(I words) {
    constexpr int kLeft = 23 - bits - k * bits;
    if constexpr (kLeft > 0) {
      words = _mm256_slli_epi32(words, kLeft);
    } else if constexpr (kLeft < 0) {
      words = _mm256_srli_epi32(words, -kLeft);
    }
    const I code = _mm256_and_si256(
        words, _mm256_set1_epi32(((1 << bits) - 1) << (23 - bits)));
    return _mm256_sub_ps(_mm256_castsi256_ps(_mm256_or_si256(
                             code, _mm256_set1_epi32(0x3f800000))),
                         _mm256_set1_ps(1.5f));
  }
  static __m256 even(I words) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
  }
  static __m256 odd(I words) {
    return _mm256_castsi256_ps(
        _mm256_and_si256(words, _mm256_set1_epi32(-0x10000)));
  }
  using Tops = I;
  static Tops tops(const unsigned char* p) {
    return _mm256_broadcastsi128_si256(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static void unpack(const unsigned char* codes, const unsigned char* low,
                     Tops tops, I (&words)[4]) {
    const I both = load_bytes(codes, 32);
    const I mask = _mm256_set1_epi8(15);
    const I which[2] = {_mm256_and_si256(both, mask),
                        _mm256_and_si256(_mm256_srli_epi16(both, 4), mask)};
    for (int i = 0; i < 2; ++i) {
      const I high = _mm256_shuffle_epi8(tops, which[i]);
      const I lower = load_bytes(low + std::ptrdiff_t{32} * i, 32);
      words[i] = _mm256_unpacklo_epi8(lower, high);
      words[2 + i] = _mm256_unpackhi_epi8(lower, high);
    }
  }
  static __m256 kept(__m256 vector) {
    __asm__("" : "+x"(vector));
    return vector;
  }
  static I iota() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
  static I advance(I lanes) {
    return _mm256_add_epi32(lanes, _mm256_set1_epi32(8));
  }
  static I shifted(I lanes, int count) {
    return _mm256_srl_epi32(lanes, _mm_cvtsi32_si128(count));
  }
  static __m256 pick(__m256 groups, I which) {
    return _mm256_permutevar8x32_ps(groups, which);
  }
  static __m128i load_halves(const unsigned char* p, int count) {
    if (count >= 8) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    alignas(16) unsigned char part[16] = {};
    std::memcpy(part, p, std::size_t{2} * static_cast<unsigned>(count));
    return _mm_load_si128(reinterpret_cast<const __m128i*>(part));
  }
  static __m256 load_f16(const unsigned char* p, int count) {
    return _mm256_cvtph_ps(load_halves(p, count));
  }
  static __m256 load_bf16(const unsigned char* p, int count) {
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(load_halves(p, count)), 16));
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/kernel_list.h"
#include "cpu/matmul/qmv_f32.inl.h"

namespace llamlx {

const MatmulKernel qmv_avx2{
    "qmv_avx2", Isa::avx2,     1,       8, kRows, supports, prepared_bytes,
    prepare,    scratch_bytes, multiply};

}  // namespace llamlx
