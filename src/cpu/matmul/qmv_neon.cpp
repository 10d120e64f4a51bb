#include "cpu/simd/simd_neon.h"

namespace llamlx {
namespace {

struct Words {
  using I = uint32x4_t;
  static constexpr int kRegisters = 32;

  static constexpr int codes_of(int bits) {
    return bits == 2 ? 16 : bits <= 4 ? 8 : 4;
  }
  static I load_bytes(const unsigned char* p, int bytes) {
    if (bytes >= 16) return vreinterpretq_u32_u8(vld1q_u8(p));
    unsigned char part[16] = {};
    std::memcpy(part, p, static_cast<std::size_t>(bytes));
    return vreinterpretq_u32_u8(vld1q_u8(part));
  }
  template <int bits>
  static I load(const unsigned char* p, int lanes) {
    constexpr int kLaneBits = codes_of(bits) * bits;
    const int bytes = (lanes < 4 ? lanes : 4) * kLaneBits / 8;
    const I words = load_bytes(p, bytes);
    if constexpr (kLaneBits == 32) return words;
    // Three bytes to each lane, or two and a half; past the table is 0.
    constexpr bool kIsWhole = kLaneBits == 24;
    constexpr unsigned char kFrom[16] = {0,
                                         1,
                                         2,
                                         255,
                                         kIsWhole ? 3 : 2,
                                         kIsWhole ? 4 : 3,
                                         kIsWhole ? 5 : 4,
                                         255,
                                         kIsWhole ? 6 : 5,
                                         kIsWhole ? 7 : 6,
                                         kIsWhole ? 8 : 7,
                                         255,
                                         kIsWhole ? 9 : 7,
                                         kIsWhole ? 10 : 8,
                                         kIsWhole ? 11 : 9,
                                         255};
    const I spread = vreinterpretq_u32_u8(
        vqtbl1q_u8(vreinterpretq_u8_u32(words), vld1q_u8(kFrom)));
    if constexpr (kIsWhole) return spread;
    constexpr std::int32_t kRight[4] = {0, -4, 0, -4};
    return vshlq_u32(spread, vld1q_s32(kRight));
  }
  template <int bits, int k>
  static float32x4_t centred(I words) {
    constexpr int kLeft = 23 - bits - k * bits;
    if constexpr (kLeft > 0) {
      words = vshlq_n_u32(words, kLeft);
    } else if constexpr (kLeft < 0) {
      words = vshrq_n_u32(words, -kLeft);
    }
    const I code =
        vandq_u32(words, vdupq_n_u32(((1u << bits) - 1) << (23 - bits)));
    return vsubq_f32(
        vreinterpretq_f32_u32(vorrq_u32(code, vdupq_n_u32(0x3f800000))),
        vdupq_n_f32(1.5f));
  }
  static float32x4_t even(I words) {
    return vreinterpretq_f32_u32(vshlq_n_u32(words, 16));
  }
  static float32x4_t odd(I words) {
    return vreinterpretq_f32_u32(vandq_u32(words, vdupq_n_u32(0xffff0000)));
  }
  using Tops = uint8x16_t;
  static Tops tops(const unsigned char* p) { return vld1q_u8(p); }
  static void unpack(const unsigned char* codes, const unsigned char* low,
                     Tops tops, I (&words)[8]) {
    for (int i = 0; i < 2; ++i) {
      const uint8x16_t both = vld1q_u8(codes + 16 * i);
      const uint8x16_t which[2] = {vandq_u8(both, vdupq_n_u8(15)),
                                   vshrq_n_u8(both, 4)};
      for (int j = 0; j < 2; ++j) {
        const int at = 2 * j + i;
        const uint8x16_t high = vqtbl1q_u8(tops, which[j]);
        const uint8x16_t lower = vld1q_u8(low + 16 * at);
        words[at] = vreinterpretq_u32_u8(vzip1q_u8(lower, high));
        words[4 + at] = vreinterpretq_u32_u8(vzip2q_u8(lower, high));
      }
    }
  }
  static float32x4_t kept(float32x4_t vector) {
    __asm__("" : "+w"(vector));
    return vector;
  }
  static I iota() {
    constexpr std::uint32_t kLaneNumbers[4] = {0, 1, 2, 3};
    return vld1q_u32(kLaneNumbers);
  }
  static I advance(I lanes) { return vaddq_u32(lanes, vdupq_n_u32(4)); }
  static I shifted(I lanes, int count) {
    return vshlq_u32(lanes, vdupq_n_s32(-count));
  }
  static float32x4_t pick(float32x4_t groups, I which) {
    // The bytes of lane n are 4 n, 4 n + 1, ...
    const I bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100), which, 0x04040404);
    return vreinterpretq_f32_u8(
        vqtbl1q_u8(vreinterpretq_u8_f32(groups), vreinterpretq_u8_u32(bytes)));
  }
  static uint16x4_t load_halves(const unsigned char* p, int count) {
    std::uint16_t halves[4] = {};
    std::memcpy(halves, p, static_cast<std::size_t>(count < 4 ? 2 * count : 8));
    return vld1_u16(halves);
  }
  static float32x4_t load_f16(const unsigned char* p, int count) {
    return vcvt_f32_f16(vreinterpret_f16_u16(load_halves(p, count)));
  }
  static float32x4_t load_bf16(const unsigned char* p, int count) {
    return vreinterpretq_f32_u32(vshll_n_u16(load_halves(p, count), 16));
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/kernel_list.h"
#include "cpu/matmul/qmv_f32.inl.h"

namespace llamlx {

const MatmulKernel qmv_neon{
    "qmv_neon", Isa::neon,     1,       8, kRows, supports, prepared_bytes,
    prepare,    scratch_bytes, multiply};

}  // namespace llamlx
