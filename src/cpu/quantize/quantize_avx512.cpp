#include "cpu/quantize/codes_avx2.h"
#include "cpu/simd/simd_avx512.h"

namespace llamlx {
namespace {

struct Codes : CodesAvx2 {
  static void store(std::uint8_t* p, __m512 a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/quantize/quantize.inl.h"

namespace llamlx {

extern constinit const QuantizeKernel kQuantizeAvx512 = {Isa::avx512,
                                                         quantize_groups};

}  // namespace llamlx
