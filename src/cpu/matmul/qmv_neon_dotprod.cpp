#include "cpu/matmul/qmv_neon_codes.inl.h"

namespace llamlx {
namespace {

// Four products a lane: a row of the weight times a plane of a row of x. Both
// are signed, so codes of 8 bits are taken less 128.
struct Dots {
  static constexpr int kSlabRows = 2;  // 16 sums and 8 vectors of codes
  static constexpr int kBlock = 16;
  static constexpr int kRows = 4;

  static constexpr int centre(int bits) { return bits == 8 ? 128 : 0; }
  static constexpr int column(int bits, int i) {
    const int vector = i / 16;
    if (bits == 4) return 2 * (i % 16) + vector;
    if (bits == 2) return 4 * (i % 8) + 2 * vector + i / 8 % 2;
    return i;
  }

  struct Codes {
    int8x16_t row[kRows][2];
  };
  template <int bits>
  [[gnu::always_inline]] static void unpack(const Byte* const (&row)[kRows],
                                            std::ptrdiff_t at, Codes& codes) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      uint8x16_t code[2];
      unpack_unit<bits>(row[r] + at, code);
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        if (bits == 8) code[i] = veorq_u8(code[i], vdupq_n_u8(128));
        codes.row[r][i] = vreinterpretq_s8_u8(code[i]);
      }
    }
  }

  struct Sums {
    int32x4_t high[kRows];
    int32x4_t low[kRows];
  };
  [[gnu::always_inline]] static void clear(Sums& sums) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      sums.high[r] = sums.low[r] = vdupq_n_s32(0);
    }
  }
  [[gnu::always_inline]] static void add(const Codes& codes, const Byte* x,
                                         Sums& sums) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const int8x16_t high = vreinterpretq_s8_u8(vld1q_u8(x + 32 * i));
      const int8x16_t low = vreinterpretq_s8_u8(vld1q_u8(x + 32 * i + 16));
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        sums.high[r] = vdotq_s32(sums.high[r], codes.row[r][i], high);
        sums.low[r] = vdotq_s32(sums.low[r], codes.row[r][i], low);
      }
    }
  }
  [[gnu::always_inline]] static int32x4_t total(const Sums& sums) {
    const int32x4_t high = joined(sums.high);
    return vaddq_s32(vshlq_n_s32(high, 8), joined(sums.low));
  }

 private:
  [[gnu::always_inline]] static int32x4_t joined(
      const int32x4_t (&parts)[kRows]) {
    return vpaddq_s32(vpaddq_s32(parts[0], parts[1]),
                      vpaddq_s32(parts[2], parts[3]));
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmv_neon_planes.inl.h"

namespace llamlx {

extern constinit const MatmulKernel qmv_neon_dotprod =
    kernel_named("qmv_neon_dotprod", Isa::neon_dotprod);

}  // namespace llamlx
