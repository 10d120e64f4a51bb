#pragma once

#include "cuda/matmul/few_rows_space.h"
#include "cuda/matmul/row_loads.h"

namespace llamlx::cuda {

/// Brings a norm's weights into the first cache.
__device__ inline void touch(const float* norm, int cols) {
  constexpr int kLine = 128 / sizeof(float);
  for (int i = static_cast<int>(threadIdx.x) * kLine; i < cols;
       i += kFewRowsThreads * kLine) {
    bring_nearest(norm + i);
  }
}

/// What a row of x is multiplied by before it becomes an operand.
struct RowScale {
  float norm;
  float range;
};

/// The rows of x, normed and as operands.
template <typename Tile, typename Planes>
class RowMaker {
 public:
  __device__ RowMaker(const FewRowsArgs& args, const FewRowsSpace<Tile>& space,
                      Planes planes)
      : args_(args),
        space_(space),
        planes_(planes),
        warp_(static_cast<int>(threadIdx.x) / kWarpSize),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize),
        share_(warps_a_row(args.rows)),
        row_(warp_ / share_),
        first_(warp_ % share_ * kWarpSize),
        step_(share_ * kWarpSize),
        quads_(args.tiles * kTileCols / 4),
        x_(args.x + static_cast<long long>(row_) * args.cols) {}

  __device__ void run() {
    const bool is_mine = row_ < args_.rows;
    // What is asked for together arrives together.
    Floats4 held[kHeld];
    const bool holds_all = quads_ <= kHeld * step_;
    if (is_mine) {
      float squares = 0;
      float largest = 0;
      for (int base = first_; base < quads_; base += kHeld * step_) {
        load(base, held);
        add_statistics(base, held, squares, largest);
      }
      squares = warp_sum(squares);
      largest = warp_max(largest);
      if (lane_ == 0) {
        space_.squares[warp_] = squares;
        space_.squares[kFewRowsWarps + warp_] = largest;
      }
    }
    __syncthreads();
    if (!is_mine) return;
    const auto [norm, range] = scale();
    if (first_ + lane_ == 0) space_.scales[row_] = inverse_range(range);
    if (args_.norm == nullptr) {
      write_all<false>(held, holds_all, range);
    } else {
      write_all<true>(held, holds_all, norm * range);
    }
  }

 private:
  static constexpr int kHeld = 7;

  // Warps share a row if there are more of them.
  __device__ static int warps_a_row(int rows) {
    return kFewRowsWarps / (rows == 1 ? 1 : rows == 2 ? 2 : rows <= 4 ? 4 : 8);
  }

  __device__ void load(int base, Floats4 (&held)[kHeld]) const {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      held[i] = load_row(x_, 4 * (base + i * step_ + lane_), args_.cols);
    }
  }

  __device__ void add_statistics(int base, const Floats4 (&held)[kHeld],
                                 float& squares, float& largest) const {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      if (base + i * step_ >= quads_) break;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float v = held[i].f[j];
        squares += v * v;
        largest = fmaxf(largest, fabsf(v));
      }
    }
  }

  __device__ RowScale scale() const {
    const auto* squares = space_.squares + row_ * share_;
    float sum = 0;
    float largest = 0;
#pragma unroll 4
    for (int i = 0; i < share_; ++i) {
      sum += squares[i];
      largest = fmaxf(largest, squares[kFewRowsWarps + i]);
    }
    const float norm =
        args_.norm == nullptr
            ? 1
            : rsqrtf(sum / static_cast<float>(args_.cols) + args_.eps);
    if (FewRowsSpace<Tile>::kIsWide) return {norm, 1};
    return {norm, range_scale(largest * args_.largest_norm * norm)};
  }

  template <bool kIsNormed>
  __device__ void write_all(Floats4 (&held)[kHeld], bool holds_all,
                            float by) const {
    for (int base = first_; base < quads_; base += kHeld * step_) {
      if (!holds_all) load(base, held);
#pragma unroll
      for (int i = 0; i < kHeld; ++i) {
        if (base + i * step_ >= quads_) break;  // for the whole warp
        const int quad = base + i * step_ + lane_;
        if constexpr (kIsNormed) {
          const auto w = load_norm(args_.norm, 4 * quad, args_.cols);
#pragma unroll
          for (int j = 0; j < 4; ++j) held[i].f[j] *= w.f[j];
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) held[i].f[j] *= by;
        write(quad, held[i]);
      }
    }
  }

  /// Four neighbours, by all lanes of a warp together.
  __device__ void write(int quad, const Floats4& v) const {
    if constexpr (FewRowsSpace<Tile>::kIsWide) {
      auto* to = space_.x + row_ * space_.stride + 4 * quad;
      if (quad < quads_) *reinterpret_cast<Floats4*>(to) = v;
    } else {
      write_planes(quad, v);
    }
  }

  __device__ void write_planes(int quad, Floats4 v) const {
    const auto whole = v;
    const bool is_there = quad < quads_;
    auto* to = space_.x + row_ * space_.stride + 4 * quad;
    for (int plane = 0; plane < planes_; ++plane) {
      const Words2 words = {{split2<typename Tile::Operand>(v.f[0], v.f[1]),
                             split2<typename Tile::Operand>(v.f[2], v.f[3])}};
      if (is_there) *reinterpret_cast<Words2*>(to) = words;
      to += args_.rows * space_.stride;
    }
    if constexpr (Tile::kGroups > 0) {
      float sum = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j) sum += whole.f[j] - v.f[j];
      constexpr int kLanes = kTileCols / Tile::kGroups / 4;
#pragma unroll
      for (int step = 1; step < kLanes; step *= 2) {
        sum += __shfl_xor_sync(kAllLanes, sum, step);
      }
      if (is_there && quad % kLanes == 0) {
        space_.sums[quad / kLanes * 8 + row_] = sum;
      }
    }
  }

  const FewRowsArgs& args_;
  const FewRowsSpace<Tile>& space_;
  Planes planes_;
  int warp_;
  int lane_;
  int share_;  // warps that have a row together
  int row_;
  int first_;  // quad of this warp
  int step_;
  int quads_;
  const float* x_;
};

}  // namespace llamlx::cuda
