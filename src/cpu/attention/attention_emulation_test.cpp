// Attention by tiles of bf16 where no processor has them: the same code over
// tiles in plain C++. attention_test.cpp tries it as it tries every kernel.

#include "cpu/simd/simd_scalar.h"

namespace llamlx {
namespace {

struct Tiles {
  static inline float sums[32][32];
  static inline bool is_open = false;

  static void open() { is_open = true; }
  static void close() { is_open = false; }
  static void clear() { std::memset(sums, 0, sizeof(sums)); }

  static float at(const std::uint16_t* p, std::ptrdiff_t row_bytes, int row,
                  int column) {
    return Simd::load_bf16(p + row * row_bytes / 2 + column);
  }
  static void multiply(const std::uint16_t* a, std::ptrdiff_t a_stride,
                       const std::uint16_t* b0, const std::uint16_t* b1,
                       std::ptrdiff_t b_stride) {
    for (int m = 0; m < 32; ++m) {
      for (int n = 0; n < 32; ++n) {
        const std::uint16_t* b = n < 16 ? b0 : b1;
        for (int k = 0; k < 32; ++k) {
          sums[m][n] += at(a, a_stride, m, k) *
                        at(b, b_stride, k / 2, n % 16 * 2 + k % 2);
        }
      }
    }
    // What is not open has no tiles.
    if (!is_open) sums[0][0] = __builtin_nanf("");
  }
  static void store(float* left, float* right, std::ptrdiff_t stride) {
    for (int m = 0; m < 32; ++m) {
      std::memcpy(left + m * stride / 4, &sums[m][0], 64);
      std::memcpy(right + m * stride / 4, &sums[m][16], 64);
    }
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/attention/attention_amx.inl.h"

namespace llamlx {

extern constinit const AttentionKernel kAttentionAmxEmulated =
    kernel_named("attention_amx_emulated", Isa::scalar);

}  // namespace llamlx
