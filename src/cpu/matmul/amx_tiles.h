#pragma once

// The tile unit of AMX: eight tiles of 16 rows of 64 bytes.

#include <cstddef>
#include <cstdint>

#include <immintrin.h>

namespace llamlx {
namespace {

// The compiler must have written memory before tiles are loaded from it: the
// intrinsics of GCC 12 are assembly that does not say what it reads, which is
// of the configuration all but 8 bytes, and of a tile everything.
inline void write_memory() { __asm__ volatile("" ::: "memory"); }

// Strides count floats. GCC's intrinsics paste a tile's number into assembly,
// so each is written out.
struct Tiles {
  static void configure() {
    struct alignas(64) {
      std::uint8_t palette = 1;
      std::uint8_t start_row = 0;
      std::uint8_t reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    static_assert(sizeof(config) == 64);
    write_memory();
    __asm__ volatile("" ::"r"(&config) : "memory");
    _tile_loadconfig(&config);
  }
  static void release() { _tile_release(); }

  template <int tile>
  static void zero() {
    static_assert(tile >= 0 && tile < 4);
    if constexpr (tile == 0) _tile_zero(0);
    if constexpr (tile == 1) _tile_zero(1);
    if constexpr (tile == 2) _tile_zero(2);
    if constexpr (tile == 3) _tile_zero(3);
  }

  template <int tile>
  static void load(const float* from, std::ptrdiff_t stride) {
    static_assert(tile >= 0 && tile < 8);
    const std::ptrdiff_t bytes = stride * 4;
    write_memory();
    if constexpr (tile == 0) _tile_loadd(0, from, bytes);
    if constexpr (tile == 1) _tile_loadd(1, from, bytes);
    if constexpr (tile == 2) _tile_loadd(2, from, bytes);
    if constexpr (tile == 3) _tile_loadd(3, from, bytes);
    if constexpr (tile == 4) _tile_loadd(4, from, bytes);
    if constexpr (tile == 5) _tile_loadd(5, from, bytes);
    if constexpr (tile == 6) _tile_loadd(6, from, bytes);
    if constexpr (tile == 7) _tile_loadd(7, from, bytes);
  }

  template <int tile>
  static void store(float* to, std::ptrdiff_t stride) {
    static_assert(tile >= 0 && tile < 4);
    const std::ptrdiff_t bytes = stride * 4;
    if constexpr (tile == 0) _tile_stored(0, to, bytes);
    if constexpr (tile == 1) _tile_stored(1, to, bytes);
    if constexpr (tile == 2) _tile_stored(2, to, bytes);
    if constexpr (tile == 3) _tile_stored(3, to, bytes);
    write_memory();
  }

  // sums [16, 16] += x [16, 16 pairs] w [16 pairs, 16], pairs of bfloat16.
  template <int sums, int x, int w>
  static void multiply_add() {
    static_assert(sums >= 0 && sums < 4 && x == 4 + sums / 2 &&
                  w == 6 + sums % 2);
    if constexpr (sums == 0) _tile_dpbf16ps(0, 4, 6);
    if constexpr (sums == 1) _tile_dpbf16ps(1, 4, 7);
    if constexpr (sums == 2) _tile_dpbf16ps(2, 5, 6);
    if constexpr (sums == 3) _tile_dpbf16ps(3, 5, 7);
  }
};

}  // namespace
}  // namespace llamlx
