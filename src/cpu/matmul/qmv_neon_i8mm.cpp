#include "cpu/matmul/qmv_neon_codes.inl.h"

namespace llamlx {
namespace {

// Eight products a lane: two rows of the weight times both planes of a row of
// x, codes unsigned. For 64 bytes of a weight of 4 bits GCC 12 makes 33
// instructions with one row of x where qmv_neon_dotprod has 39, and 65 with
// four rows where that one, which takes them two by two, has 124: so this ranks
// before it, by count, as no machine has timed them.
struct Dots {
  static constexpr int kSlabRows = 4;  // 8 sums and 8 vectors of codes
  static constexpr int kBlock = 8;
  static constexpr int kRows = 4;
  static constexpr int kPairs = kRows / 2;
  static constexpr int kBlocks = kUnit / kBlock;

  static constexpr int centre(int /*bits*/) { return 0; }
  static constexpr int column(int bits, int i) {
    const int block = i / kBlock;
    if (bits == 4) return block / 2 * 16 + 2 * (i % kBlock) + block % 2;
    if (bits == 2) return 4 * (i % kBlock) + block;
    return i;
  }

  // Blocks of two rows, one after the other.
  struct Codes {
    uint8x16_t pair[kPairs][kBlocks];
  };
  template <int bits>
  [[gnu::always_inline]] static void unpack(const Byte* const (&row)[kRows],
                                            std::ptrdiff_t at, Codes& codes) {
#pragma GCC unroll 2
    for (int i = 0; i < kPairs; ++i) {
      unpack_pair<bits>(row[2 * i] + at, row[2 * i + 1] + at, codes.pair[i]);
    }
  }

  // Of a pair of rows: high and low of the first, of the second.
  struct Sums {
    int32x4_t pair[kPairs];
  };
  [[gnu::always_inline]] static void clear(Sums& sums) {
#pragma GCC unroll 2
    for (int i = 0; i < kPairs; ++i) sums.pair[i] = vdupq_n_s32(0);
  }
  [[gnu::always_inline]] static void add(const Codes& codes, const Byte* x,
                                         Sums& sums) {
#pragma GCC unroll 4
    for (int block = 0; block < kBlocks; ++block) {
      const int8x16_t planes = vreinterpretq_s8_u8(vld1q_u8(x + 16 * block));
#pragma GCC unroll 2
      for (int i = 0; i < kPairs; ++i) {
        sums.pair[i] = vusmmlaq_s32(sums.pair[i], codes.pair[i][block], planes);
      }
    }
  }
  [[gnu::always_inline]] static int32x4_t total(const Sums& sums) {
    const int32x4_t high = vuzp1q_s32(sums.pair[0], sums.pair[1]);
    const int32x4_t low = vuzp2q_s32(sums.pair[0], sums.pair[1]);
    return vaddq_s32(vshlq_n_s32(high, 8), low);
  }

 private:
  [[gnu::always_inline]] static uint8x16_t firsts(uint8x16_t a, uint8x16_t b) {
    return vreinterpretq_u8_u64(
        vzip1q_u64(vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b)));
  }
  [[gnu::always_inline]] static uint8x16_t seconds(uint8x16_t a, uint8x16_t b) {
    return vreinterpretq_u8_u64(
        vzip2q_u64(vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b)));
  }

  // Rows are joined while they are packed, where a width has no other way of
  // being put into order: half as much to join, or a quarter.
  template <int bits>
  [[gnu::always_inline]] static void unpack_pair(const Byte* a, const Byte* b,
                                                 uint8x16_t (&codes)[kBlocks]) {
    if constexpr (bits == 2) {
      const uint8x16_t both = vcombine_u8(vld1_u8(a), vld1_u8(b));
      const uint8x16_t mask = vdupq_n_u8(3);
      codes[0] = vandq_u8(both, mask);
      codes[1] = vandq_u8(vshrq_n_u8(both, 2), mask);
      codes[2] = vandq_u8(vshrq_n_u8(both, 4), mask);
      codes[3] = vshrq_n_u8(both, 6);
    } else if constexpr (bits == 4) {
      const uint8x16_t packed_a = vld1q_u8(a);
      const uint8x16_t packed_b = vld1q_u8(b);
      const uint8x16_t low = firsts(packed_a, packed_b);
      const uint8x16_t high = seconds(packed_a, packed_b);
      codes[0] = vandq_u8(low, vdupq_n_u8(15));
      codes[1] = vshrq_n_u8(low, 4);
      codes[2] = vandq_u8(high, vdupq_n_u8(15));
      codes[3] = vshrq_n_u8(high, 4);
    } else {
      uint8x16_t code_a[2];
      uint8x16_t code_b[2];
      unpack_unit<bits>(a, code_a);
      unpack_unit<bits>(b, code_b);
      codes[0] = firsts(code_a[0], code_b[0]);
      codes[1] = seconds(code_a[0], code_b[0]);
      codes[2] = firsts(code_a[1], code_b[1]);
      codes[3] = seconds(code_a[1], code_b[1]);
    }
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmv_neon_planes.inl.h"

namespace llamlx {

extern constinit const MatmulKernel qmv_neon_i8mm =
    kernel_named("qmv_neon_i8mm", Isa::neon_i8mm);

}  // namespace llamlx
