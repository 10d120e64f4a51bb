#include "cpu/simd/simd_avx512.h"

namespace llamlx {
namespace {

/// The processor's tiles: 0 to 3 are sums, 4 and 5 rows of a, 6 and 7 columns
/// of b. GCC 12 does not say of its instructions that they read and write
/// memory, so barriers keep other reads and writes on their side.
struct Tiles {
  static void barrier() { __asm__ volatile("" : : : "memory"); }

  static void open() {
    struct alignas(64) Configuration {
      std::uint8_t palette = 1;
      std::uint8_t start_row = 0;
      std::uint8_t reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    };
    static_assert(sizeof(Configuration) == 64);
    const Configuration configuration;
    // All of it must be in memory: of its 64 bytes the instruction names 8.
    __asm__ volatile("" : : "r"(&configuration) : "memory");
    _tile_loadconfig(&configuration);
  }
  static void close() { _tile_release(); }

  static void clear() {
    barrier();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }

  static void multiply(const std::uint16_t* a, std::ptrdiff_t a_stride,
                       const std::uint16_t* b0, const std::uint16_t* b1,
                       std::ptrdiff_t b_stride) {
    const char* lower = reinterpret_cast<const char*>(a) + 16 * a_stride;
    _tile_loadd(4, a, a_stride);
    _tile_loadd(6, b0, b_stride);
    _tile_loadd(7, b1, b_stride);
    _tile_loadd(5, lower, a_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }

  static void store(float* left, float* right, std::ptrdiff_t stride) {
    const std::ptrdiff_t lower = 16 * stride / 4;
    _tile_stored(0, left, stride);
    _tile_stored(1, right, stride);
    _tile_stored(2, left + lower, stride);
    _tile_stored(3, right + lower, stride);
    barrier();
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/attention/attention_amx.inl.h"

namespace llamlx {

extern constinit const AttentionKernel kAttentionAmx =
    kernel_named("attention_amx", Isa::amx);

}  // namespace llamlx
