#pragma once

#include <type_traits>

#include "cuda/attention/few_rows_stream.h"

namespace llamlx::cuda {

/// Of scores in shared memory a query has so many.
inline constexpr int kScoreStride = 20;
/// Floats that a warp's stream has there: scores [8], corrections [8].
inline constexpr int kScoreFloats = 8 * kScoreStride + 8;

/// Over a cache of float32, without a matrix unit: lane 4 g + t adds up
/// elements 32 j + 8 t + 0 ... 7 of the keys of positions g and g + 8, and
/// every lane has columns of its own of the values.
template <int kDim>
class Stream<F32, kDim> {
 public:
  using Operand = F32;
  static constexpr int kPositions =
      attention_few_positions(NumberType::f32, kDim);
  static constexpr float kLift = 0;
  using Tile = SharedTile<kDim * 4>;

  /// queries [8][stride] of float32 in shared memory, `count` of which matter.
  __device__ Stream(const unsigned char* queries, float* scratch, int count,
                    int lane)
      : queries_(reinterpret_cast<const float*>(queries)),
        scores_(scratch),
        count_(count),
        lane_(lane) {}

  __device__ void load_queries() {}

  __device__ void score(const Tile& tile, float (&s)[kPositions / 4]) const {
    const int g = lane_ / 4;
    const int t = lane_ % 4;
    Keys keys;
    load_keys(tile, keys);
#pragma unroll
    for (int v = 0; v < 8; ++v) {
      if (v >= count_) break;
      float sums[kPositions / 8];
      multiply_keys(queries_ + v * attention_few_stride(kDim) + 8 * t, keys,
                    sums);
#pragma unroll
      for (int n = 0; n < kPositions / 8; ++n) {
        const float sum = quad_sum(sums[n]);
        if (t == 0) scores_[v * kScoreStride + 8 * n + g] = sum;
      }
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kPositions / 4; ++i) s[i] = *mine(i);
  }

  __device__ void accumulate(const Tile& tile, const float (&p)[kPositions / 4],
                             float correction) {
    float* corrections = scores_ + 8 * kScoreStride;
#pragma unroll
    for (int i = 0; i < kPositions / 4; ++i) *mine(i) = p[i];
    if (lane_ % 4 == 0) corrections[lane_ / 4] = correction;
    __syncwarp();
    Load values[kPositions][kColumns / kLoad];
    load_values(tile, values);
#pragma unroll
    for (int v = 0; v < 8; ++v) {
      if (v >= count_) break;
#pragma unroll
      for (int i = 0; i < kColumns; ++i) out_[v][i] *= corrections[v];
#pragma unroll
      for (int at = 0; at < kPositions; at += 4) {
        const auto weights =
            *reinterpret_cast<const Floats4*>(scores_ + v * kScoreStride + at);
#pragma unroll
        for (int r = 0; r < 4; ++r) {
#pragma unroll
          for (int i = 0; i < kColumns; ++i) {
            out_[v][i] =
                fmaf(weights.f[r], value(values[at + r], i), out_[v][i]);
          }
        }
      }
    }
    __syncwarp();
  }

  __device__ void write(float* to) const {
#pragma unroll
    for (int v = 0; v < 8; ++v) {
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        to[v * kSumsStride<kDim> + column(i)] = out_[v][i];
      }
    }
  }

 private:
  static constexpr int kColumns = kDim / 32;
  static constexpr int kLoad = kDim == 64 ? 2 : 4;  // columns of one load
  using Load = std::conditional_t<kLoad == 2, Words2, Words4>;
  using Keys = Words4[kPositions / 8][kDim / 32][2];

  const float* queries_;
  float* scores_;
  int count_;
  int lane_;
  float out_[8][kColumns] = {};

  __device__ float* mine(int i) const {
    return scores_ + lane_ / 4 * kScoreStride + i / 2 * 8 + lane_ % 4 * 2 +
           i % 2;
  }
  __device__ int column(int i) const {
    return i / kLoad * 128 + lane_ * kLoad + i % kLoad;
  }
  __device__ static float value(const Load (&row)[kColumns / kLoad], int i) {
    return __uint_as_float(row[i / kLoad].w[i % kLoad]);
  }

  __device__ void load_keys(const Tile& tile, Keys& keys) const {
#pragma unroll
    for (int n = 0; n < kPositions / 8; ++n) {
#pragma unroll
      for (int i = 0; i < kDim / 16; ++i) {
        keys[n][i / 2][i % 2] =
            tile.read(n, lane_ / 4, i / 2 * 8 + lane_ % 4 * 2 + i % 2);
      }
    }
  }
  __device__ void load_values(
      const Tile& tile, Load (&values)[kPositions][kColumns / kLoad]) const {
#pragma unroll
    for (int r = 0; r < kPositions; ++r) {
      const int row = tile.there(r);
#pragma unroll
      for (int i = 0; i < kColumns / kLoad; ++i) {
        const int col = column(i * kLoad);
        values[r][i] = *reinterpret_cast<const Load*>(tile.piece(row, col / 4) +
                                                      col % 4 * 4);
      }
    }
  }

  __device__ void multiply_keys(const float* query, const Keys& keys,
                                float (&sums)[kPositions / 8]) const {
#pragma unroll
    for (auto& sum : sums) sum = 0;
#pragma unroll
    for (int i = 0; i < kDim / 16; ++i) {
      const auto q =
          *reinterpret_cast<const Floats4*>(query + i / 2 * 32 + i % 2 * 4);
#pragma unroll
      for (int n = 0; n < kPositions / 8; ++n) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sums[n] = fmaf(q.f[j], __uint_as_float(keys[n][i / 2][i % 2].w[j]),
                         sums[n]);
        }
      }
    }
  }
};

}  // namespace llamlx::cuda
