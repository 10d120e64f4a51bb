#pragma once

#include "cuda/attention/code_pair.h"
#include "cuda/attention/few_rows_stream.h"

namespace llamlx::cuda {

/// Over a cache of 8-bit numbers, through the matrix unit, which multiplies
/// them as whole numbers of bfloat16: scores are added up of those of a group
/// of columns times its scales, and weights grow by those of the values.
template <int kDim>
class Stream<Q8, kDim> {
 public:
  using Operand = Bf16;
  using Tile = CodeTile<kDim>;
  static constexpr int kPositions = Tile::kPositions;
  static constexpr float kLift = 0;

  /// queries as of 16-bit caches.
  __device__ Stream(const unsigned char* queries, float*, int, int lane)
      : shared_(queries), lane_(lane), g_(lane / 4), t_(lane % 4) {}

  __device__ void load_queries() {
    if constexpr (kHoldsQueries) {
#pragma unroll
      for (int i = 0; i < kDim / 16; ++i) queries_[i] = read_query(i);
    }
  }

  __device__ void score(const Tile& keys, float (&s)[kPositions / 4]) const {
#pragma unroll
    for (auto& x : s) x = 0;
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      float c[kBlocks][4] = {};
      multiply_keys(keys, j, c);
#pragma unroll
      for (int n = 0; n < kBlocks; ++n) {
        const auto* scales = keys.scale(j, 8 * n + 2 * t_);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          s[2 * n + i] = fmaf(c[n][i] + c[n][i + 2], scales[i], s[2 * n + i]);
        }
      }
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
#pragma unroll
    for (int j = 0; j < kGroups; ++j) {
      std::uint32_t a[kBlocks / 2][4];
#pragma unroll
      for (int n = 0; n < kBlocks; ++n) {
        const auto* scales = values.scale(j, 8 * n + 2 * t_);
        const float x = p[2 * n] * scales[0];
        const float y = p[2 * n + 1] * scales[1];
        auto* words = a[n / 2] + n % 2 * 2;
        words[0] = pack(Operand{}, x, y);
        words[1] = pack_rest(Operand{}, x, y, words[0]);
      }
      multiply_values(values, j, a);
    }
  }

  __device__ void write(float* to) const {
#pragma unroll
    for (int i = 0; i < kDim / 16; ++i) {
      const auto& even = out_[2 * i];
      const auto& odd = out_[2 * i + 1];
      *reinterpret_cast<Floats4*>(to + g_ * kSumsStride<kDim> + 16 * i +
                                  4 * t_) = {
          {even[0] + even[2], odd[0] + odd[2], even[1] + even[3],
           odd[1] + odd[3]}};
    }
  }

 private:
  static constexpr int kGroups = kDim / kCacheGroup;
  static constexpr int kBlocks = kPositions / 8;
  static constexpr bool kHoldsQueries = kDim == 64;

  const unsigned char* shared_;
  int lane_;
  int g_;
  int t_;
  Words4 queries_[kHoldsQueries ? kDim / 16 : 1];
  // Lane 4 g + t has query g's columns 16 i + 4 t and 16 i + 4 t + 2 in
  // out_[2 i], and those after them in out_[2 i + 1].
  float out_[kDim / 8][4] = {};

  // Step 4 j + i of the products takes elements 4 i + 0, 1, 2, 3 of each 16 of
  // group j.
  __device__ Words4 read_query(int step) const {
    const int at = g_ * attention_few_stride(kDim) + step / 4 * kCacheGroup +
                   16 * t_ + step % 4 * 4;
    return *reinterpret_cast<const Words4*>(shared_ + 4 * at);
  }

  /// The queries times the numbers of a group.
  __device__ void multiply_keys(const Tile& keys, int group,
                                float (&c)[kBlocks][4]) const {
    Words4 k[kBlocks];
#pragma unroll
    for (int n = 0; n < kBlocks; ++n) k[n] = keys.read(n, g_, 4 * group + t_);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int step = 4 * group + i;
      const auto a = kHoldsQueries ? queries_[step] : read_query(step);
#pragma unroll
      for (int n = 0; n < kBlocks; ++n) {
        const std::uint32_t b[2] = {code_pair(k[n].w[i], Pair::low),
                                    code_pair(k[n].w[i], Pair::high)};
        multiply_add(Operand{}, c[n], a.w, b);
      }
    }
  }

  /// Four matrices of 8 positions and 8 times two columns at a time: the first
  /// of all two make one operand, and the second another.
  __device__ void multiply_values(const Tile& values, int group,
                                  const std::uint32_t (&a)[kBlocks / 2][4]) {
#pragma unroll
    for (int i = 4 * group; i < 4 * group + 4; ++i) {
      std::uint32_t v[4];
      load_transposed(v, values.piece(lane_, i));
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const auto which = n == 0 ? Pair::even : Pair::odd;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const std::uint32_t b[2] = {code_pair(v[2 * half], which),
                                      code_pair(v[2 * half + 1], which)};
          multiply_add(Operand{}, out_[2 * i + n], a[half], b);
        }
      }
    }
  }
};

}  // namespace llamlx::cuda
