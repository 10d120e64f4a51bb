#pragma once

// Tiles of a word a step: a lane is a row of w. See qmm_tiles.inl.h.

#include "cpu/matmul/qmm_pack.inl.h"

namespace llamlx {
namespace {

struct Steps {
  static constexpr int kWords = 1;

  template <int count>
  static void store(float* to, const float* from) {
    std::memcpy(to, from, count * sizeof(float));
  }

  static void join(float* /*panel*/, int /*count*/, int /*words*/) {}

  // Inlined, or else the sums would have an address, and lie in memory.
  template <int tile_rows>
  [[gnu::always_inline]] static void sum(
      const float* x, const float* w, int words,
      Simd::F (&sums)[tile_rows][kTileVectors]) {
#pragma GCC unroll 16
    for (int i = 0; i < tile_rows; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < kTileVectors; ++j) sums[i][j] = Simd::zero();
    }
    for (int k = 0; k < words; ++k) {
      Simd::F columns[kTileVectors];
#pragma GCC unroll 16
      for (int j = 0; j < kTileVectors; ++j) {
        columns[j] = Simd::load(w + Index(j) * kLanes);
      }
#pragma GCC unroll 16
      for (int i = 0; i < tile_rows; ++i) {
        const Simd::F row = Simd::set1(x[i]);
#pragma GCC unroll 16
        for (int j = 0; j < kTileVectors; ++j) {
          sums[i][j] = Product::multiply_add(row, columns[j], sums[i][j]);
        }
      }
      x += kTileRows;
      w += Index(kTileVectors) * kLanes;
    }
  }
};

}  // namespace
}  // namespace llamlx
