#pragma once

#include "cuda/attention/few_rows.h"
#include "cuda/attention/few_rows_tile.h"
#include "cuda/attention/softmax.h"

/// What a warp does while it looks at positions, a tile of them at a time, for
/// up to 8 queries of one head. A stream has
///   kPositions    of a tile
///   Operand       of which queries in shared memory are; F32: as they are
///   kLift         weights are 2^kLift times too large, so that small ones do
///                 not lose digits
///   load_queries()   once they are in shared memory
///   score()       the queries times the keys: lane 4 g + t gets query g's at
///                 positions 8 n + 2 t + i, in s[2 n + i]; of those that are
///                 not there, anything
///   accumulate()  out = out * correction + weights times values, the weights
///                 held like the scores
///   write()       out, 8 rows of kSumsStride<kDim>

namespace llamlx::cuda {

/// Rows of what warps summed up, padded: lanes 4 g + t write row g.
template <int kDim>
inline constexpr int kSumsStride = kDim + 8;

/// Over a cache of 16-bit numbers, through the matrix unit: rows 0 to 7 of its
/// left operand are the queries or weights, rows 8 to 15 what rounding took off
/// them.
template <typename T, int kDim>
class Stream {
 public:
  using Operand = T;
  static constexpr int kPositions =
      attention_few_positions(number_type(T{}), kDim);
  static constexpr float kLift = static_cast<float>(lift(T{}));
  using Tile = SharedTile<kDim * 2>;

  /// queries [8][stride] in shared memory: of two elements each a word of what
  /// they are rounded to, and one of the rest.
  __device__ Stream(const unsigned char* queries, float*, int, int lane)
      : shared_(queries), lane_(lane), g_(lane / 4), t_(lane % 4) {}

  __device__ void load_queries() {
    if constexpr (kHoldsQueries) {
#pragma unroll
      for (int i = 0; i < kDim / 16; ++i) queries_[i] = read_query(i);
    }
  }

  __device__ void score(const Tile& keys, float (&s)[kPositions / 4]) const {
    float c[kPositions / 8][4] = {};
#pragma unroll
    for (int j = 0; j < kDim / 32; ++j) {
      Words4 k[kPositions / 8];
#pragma unroll
      for (int n = 0; n < kPositions / 8; ++n) {
        k[n] = keys.read(n, g_, 4 * j + t_);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const auto a =
            kHoldsQueries ? queries_[2 * j + half] : read_query(2 * j + half);
#pragma unroll
        for (int n = 0; n < kPositions / 8; ++n) {
          const std::uint32_t b[2] = {k[n].w[2 * half], k[n].w[2 * half + 1]};
          multiply_add(T{}, c[n], a.w, b);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kPositions / 4; ++i) {
      s[i] = c[i / 2][i % 2] + c[i / 2][i % 2 + 2];
    }
  }

  __device__ void accumulate(const Tile& values,
                             const float (&p)[kPositions / 4],
                             float correction) {
    if (any_lane(correction != 1)) {
#pragma unroll
      for (int i = 0; i < kDim / 8; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) out_[i][j] *= correction;
      }
    }
    std::uint32_t a[kPositions / 16][4];
#pragma unroll
    for (int i = 0; i < kPositions / 8; ++i) {
      auto* words = a[i / 2] + i % 2 * 2;
      words[0] = pack(T{}, p[2 * i], p[2 * i + 1]);
      words[1] = pack_rest(T{}, p[2 * i], p[2 * i + 1], words[0]);
    }
    multiply_values(values, a);
  }

  __device__ void write(float* to) const {
#pragma unroll
    for (int i = 0; i < kDim / 8; ++i) {
      const float x = out_[i][0] + out_[i][2];
      const float y = out_[i][1] + out_[i][3];
      *reinterpret_cast<Words2*>(to + g_ * kSumsStride<kDim> + 8 * i +
                                 2 * t_) = {
          {__float_as_uint(x), __float_as_uint(y)}};
    }
  }

 private:
  static constexpr bool kHoldsQueries = kDim == 64;

  const unsigned char* shared_;
  int lane_;
  int g_;
  int t_;
  Words4 queries_[kHoldsQueries ? kDim / 16 : 1];
  // Lane 4 g + t has query g's columns 8 i + 2 t and the next in out_[i].
  float out_[kDim / 8][4] = {};

  // Step 2 j + h of the products takes elements 4 h + 0, 1, 2, 3 of each 8.
  __device__ Words4 read_query(int step) const {
    const int at =
        g_ * attention_few_stride(kDim) + step / 2 * 32 + 8 * t_ + step % 2 * 4;
    return *reinterpret_cast<const Words4*>(shared_ + 4 * at);
  }

  /// Four matrices of 8 x 8 at a time: of 32 positions and a piece of 8
  /// columns, or of 16 and two.
  __device__ void multiply_values(
      const Tile& values, const std::uint32_t (&a)[kPositions / 16][4]) {
    constexpr int kPieces = 32 / kPositions;
    const int row = values.there(lane_ % kPositions);
#pragma unroll
    for (int i = 0; i < kDim / 8; i += kPieces) {
      std::uint32_t b[4];
      load_transposed(b, values.piece(row, i + lane_ / kPositions));
      const std::uint32_t first[2] = {b[0], b[1]};
      const std::uint32_t second[2] = {b[2], b[3]};
      multiply_add(T{}, out_[i], a[0], first);
      multiply_add(T{}, out_[i + kPieces - 1], a[kPositions / 16 - 1], second);
    }
  }
};

}  // namespace llamlx::cuda
