#include "cpu/simd/simd_avx512.h"

namespace llamlx {
namespace {

/// 16 sums and 2 vectors of keys or values, of 32 registers.
struct Shape {
  static constexpr int kRows = 8;
  static constexpr int kVectors = 2;
};

}  // namespace
}  // namespace llamlx

#include "cpu/attention/attention_tiles.inl.h"

namespace llamlx {
namespace {

/// Pairs of bf16 are multiplied as they lie.
struct Bf16Pairs {
  using Value = std::uint16_t;
  using Query = std::uint16_t;
  using Pair = __m512i;
  static constexpr int kPair = 2;
  static Pair load(const Value* p, int /*step*/) {
    return _mm512_loadu_si512(p);
  }
  static __m512 dot(const Query* two, Pair pair, __m512 sum) {
    int both;
    std::memcpy(&both, two, sizeof(both));
    return _mm512_dpbf16_ps(sum, (__m512bh)(pair),
                            (__m512bh)(_mm512_set1_epi32(both)));
  }
};

void round_row(const float* from, int count, std::uint16_t* to) {
  for (int i = 0; i < count; i += 16) {
    const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(from + i));
    std::memcpy(to + i, &rounded, sizeof(rounded));
  }
}

}  // namespace
}  // namespace llamlx

#include "cpu/attention/attention_bf16.inl.h"

namespace llamlx {

extern constinit const AttentionKernel kAttentionAvx512Bf16 =
    kernel_named("attention_avx512_bf16", Isa::avx512_bf16);

}  // namespace llamlx
