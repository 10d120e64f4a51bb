#pragma once

// Products of float32, exact for every weight. Included after a simd_ISA.h and
// the size of a tile: kTileRows rows of x, kTileVectors vectors of rows of w.

#include <climits>

namespace llamlx {
namespace {

inline constexpr int kBlockWords = 256;

struct Product {
  static constexpr int kValues = 1;
  static constexpr int kPlanes = 1;
  static constexpr int kPlaneWords = 0;
  using F = Simd::F;

  template <int plane>
  static F load_f32(const float* p) {
    return Simd::load_words(p);
  }
  template <int plane>
  static F load_f16(const std::uint16_t* p) {
    return Simd::load_f16(p);
  }
  template <int plane>
  static F load_bf16(const std::uint16_t* p) {
    return Simd::load_bf16(p);
  }
  static F multiply_add(F x, F w, F sum) {
    // Without an instruction for it, an exact fma is a call of a function.
    if constexpr (Simd::kLanes == 1) return Simd::add(Simd::mul(x, w), sum);
    return Simd::fma(x, w, sum);
  }
  static void store_pair(float* panel, int stride, F first, F second) {
    Simd::store(panel, first);
    Simd::store(panel + stride, second);
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmm_lanes.inl.h"
#include "cpu/matmul/qmm_tiles.inl.h"

namespace llamlx {
namespace {

inline bool supports(const WeightFormat& format, int cols, ValueType) {
  return supports_format(format, cols);
}

}  // namespace
}  // namespace llamlx
