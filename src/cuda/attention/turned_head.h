#pragma once

#include "cuda/intrinsics.h"

namespace llamlx::cuda {

/// How wide heads are, and which of their elements turn together.
struct HeadTurn {
  int dim;
  bool traditional;  ///< neighbours pair; else element i with i + dim / 2
};

/// Two neighbours of a head.
struct Duo {
  float x;
  float y;
};

__device__ inline Duo load_duo(const float* p) {
  const auto words = load_fresh(reinterpret_cast<const Words2*>(p));
  return {__uint_as_float(words.w[0]), __uint_as_float(words.w[1])};
}

__device__ inline void store_duo(F32, void* to, float x, float y) {
  *static_cast<Words2*>(to) = {{__float_as_uint(x), __float_as_uint(y)}};
}
template <typename T>
__device__ void store_duo(T, void* to, float x, float y) {
  *static_cast<std::uint32_t*>(to) = pack(T{}, x, y);
}

/// A head of one row as a warp holds it: a lane has pairs 2 n and 2 n + 1 of
/// those that turn together, for n of lane, lane + 32 ...
template <int kDim>
class TurnedHead {
 public:
  __device__ TurnedHead(HeadTurn turn, int lane) : turn_(turn), lane_(lane) {}

  /// Asks for what the head will be turned by: cos_sin [2, dim / 2] and, if
  /// it is not null, norm [dim].
  __device__ void prepare(const float* norm, const float* cos_sin) {
    prepare(norm, cos_sin, load_duo);
  }
  /// `load_turn`: how to load two neighbours of cos_sin.
  template <typename Load>
  __device__ void prepare(const float* norm, const float* cos_sin,
                          const Load& load_turn) {
    is_normed_ = norm != nullptr;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      cos_[i] = sin_[i] = {0, 0};
      low_norm_[i] = high_norm_[i] = {1, 1};
      if (!is_there(i)) continue;
      cos_[i] = load_turn(cos_sin + 2 * index(i));
      sin_[i] = load_turn(cos_sin + turn_.dim / 2 + 2 * index(i));
      if (!is_normed_) continue;
      low_norm_[i] = load_duo(norm + low(i));
      high_norm_[i] = load_duo(norm + high(i));
    }
  }

  __device__ void load(const float* from) {
    load_pairs(from, [](const float* low, const float* high, Duo& x, Duo& y) {
      x = load_duo(low);
      y = load_duo(high);
    });
  }
  /// `load_pair`: how to load two neighbours each of two places.
  template <typename Load>
  __device__ void load_pairs(const float* from, const Load& load_pair) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      low_[i] = high_[i] = {0, 0};
      if (is_there(i)) {
        load_pair(from + low(i), from + high(i), low_[i], high_[i]);
      }
    }
  }

  /// Norms and turns by what prepare() asked for; the result grows by `scale`.
  __device__ void turn(float eps, float scale) {
    if (is_normed_) norm_by(eps);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const auto cos = cos_[i];
      const auto sin = sin_[i];
      if (turn_.traditional) swap(low_[i].y, high_[i].x);
      rotate(low_[i].x, high_[i].x, cos.x * scale, sin.x * scale);
      rotate(low_[i].y, high_[i].y, cos.y * scale, sin.y * scale);
      if (turn_.traditional) swap(low_[i].y, high_[i].x);
    }
  }

  /// Calls store(at, x, y) with elements at and at + 1.
  template <typename Store>
  __device__ void store(const Store& store) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if (!is_there(i)) continue;
      store(low(i), low_[i].x, low_[i].y);
      store(high(i), high_[i].x, high_[i].y);
    }
  }

 private:
  static constexpr int kCount = kDim <= 128 ? 1 : kDim / 128;

  HeadTurn turn_;
  int lane_;
  bool is_normed_ = false;
  Duo low_[kCount], high_[kCount];
  Duo low_norm_[kCount], high_norm_[kCount];
  Duo cos_[kCount], sin_[kCount];

  __device__ int index(int i) const { return lane_ + kWarpSize * i; }
  __device__ bool is_there(int i) const { return 4 * index(i) < turn_.dim; }
  __device__ int low(int i) const {
    return turn_.traditional ? 4 * index(i) : 2 * index(i);
  }
  __device__ int high(int i) const {
    return low(i) + (turn_.traditional ? 2 : turn_.dim / 2);
  }

  __device__ void norm_by(float eps) {
    float squares = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      squares += low_[i].x * low_[i].x + low_[i].y * low_[i].y +
                 high_[i].x * high_[i].x + high_[i].y * high_[i].y;
    }
    const float factor =
        rsqrtf(warp_sum(squares) / static_cast<float>(turn_.dim) + eps);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      low_[i] = {low_[i].x * factor * low_norm_[i].x,
                 low_[i].y * factor * low_norm_[i].y};
      high_[i] = {high_[i].x * factor * high_norm_[i].x,
                  high_[i].y * factor * high_norm_[i].y};
    }
  }

  __device__ static void swap(float& a, float& b) {
    const float first = a;
    a = b;
    b = first;
  }
  __device__ static void rotate(float& a, float& b, float cos, float sin) {
    const float first = a;
    a = first * cos - b * sin;
    b = b * cos + first * sin;
  }
};

}  // namespace llamlx::cuda
