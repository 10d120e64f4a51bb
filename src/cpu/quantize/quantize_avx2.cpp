#include "cpu/quantize/codes_avx2.h"
#include "cpu/simd/simd_avx2.h"

namespace llamlx {
namespace {

struct Codes : CodesAvx2 {
  static void store(std::uint8_t* p, __m256 a) {
    const __m256i wide = _mm256_cvtps_epi32(a);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(wide),
                                           _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p),
                     _mm_packus_epi16(words, words));
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/quantize/quantize.inl.h"

namespace llamlx {

extern constinit const QuantizeKernel kQuantizeAvx2 = {Isa::avx2,
                                                       quantize_groups};

}  // namespace llamlx
