#include "cuda/experts/choose.h"
#include "cuda/experts/order.h"
#include "cuda/matmul/row_loads.h"

namespace llamlx::cuda {
namespace {

/// The block's shared memory.
struct RouteSpace {
  float* norms;  // [kRouteRows]
  int* is_last;
  float* numbers;  // [kRouteRows, kRouteNumbers / rows] of x; then others

  __device__ RouteSpace() {
    norms = reinterpret_cast<float*>(shared_memory());
    is_last = reinterpret_cast<int*>(norms + kRouteRows);
    numbers = reinterpret_cast<float*>(shared_memory() + kRouteHeadBytes);
  }
};

/// Logits of a block's rows and experts, kExperts a warp.
template <int kExperts>
class Logits {
 public:
  __device__ Logits(const RouteArgs& args, const RouteSpace& space)
      : args_(args),
        space_(space),
        warp_(static_cast<int>(threadIdx.x) / kWarpSize),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize),
        row_(static_cast<int>(blockIdx.x) * kRouteRows),
        rows_(smaller(args.rows - row_, kRouteRows)),
        expert_((static_cast<int>(blockIdx.y) * kRouteWarps + warp_) *
                kExperts),
        chunk_(kRouteNumbers / (rows_ == 1   ? 1
                                : rows_ == 2 ? 2
                                : rows_ <= 4 ? 4
                                             : 8)) {}

  /// Brings this warp's part of the router near, which no kernel writes.
  __device__ void bring() const {
    constexpr int kLine = 128 / sizeof(float);
    for (int i = 0; i < kExperts && expert_ + i < args_.experts; ++i) {
      for (int col = lane_ * kLine; col < args_.cols;
           col += kWarpSize * kLine) {
        bring_near(weights(i) + col);
      }
    }
  }

  __device__ void run() {
    for (int first = 0; first < args_.cols; first += chunk_) {
      const int quads = smaller(chunk_, args_.cols - first) / 4;
      load(first, quads);
      __syncthreads();
      add_squares(quads);
      multiply(first, quads);
      __syncthreads();
    }
    make_norms();
    __syncthreads();
    write();
  }

 private:
  __device__ const float* weights(int expert) const {
    return args_.router + static_cast<long long>(expert_ + expert) * args_.cols;
  }
  __device__ const Floats4& x(int row, int quad) const {
    return reinterpret_cast<const Floats4*>(space_.numbers +
                                            row * chunk_)[quad];
  }

  __device__ void load(int first, int quads) const {
#pragma unroll 4
    for (int i = static_cast<int>(threadIdx.x); i < rows_ * quads;
         i += kRouteThreads) {
      const int row = i / quads;
      const int quad = i % quads;
      const auto* from =
          args_.x + static_cast<long long>(row_ + row) * args_.cols + first;
      reinterpret_cast<Floats4*>(space_.numbers + row * chunk_)[quad] =
          load_row(from, 4 * quad, 4 * quads);
    }
  }

  /// A warp for each row.
  __device__ void add_squares(int quads) {
    if (warp_ >= rows_) return;
    for (int quad = lane_; quad < quads; quad += kWarpSize) {
      squares_ += dot(x(warp_, quad), x(warp_, quad));
    }
  }

  __device__ void multiply(int first, int quads) {
    for (int quad = lane_; quad < quads; quad += kWarpSize) {
      Floats4 w[kExperts];
#pragma unroll
      for (int i = 0; i < kExperts; ++i) {
        w[i] = load_there(i, first + 4 * quad);
      }
#pragma unroll
      for (int row = 0; row < kRouteRows; ++row) {
        if (row >= rows_) break;
        const auto its = x(row, quad);
#pragma unroll
        for (int i = 0; i < kExperts; ++i) sums_[i][row] += dot(w[i], its);
      }
    }
  }

  __device__ Floats4 load_there(int expert, int col) const {
    if (expert_ + expert >= args_.experts) return {};
    return *reinterpret_cast<const Floats4*>(weights(expert) + col);
  }
  static __device__ float dot(const Floats4& a, const Floats4& b) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) sum = fmaf(a.f[i], b.f[i], sum);
    return sum;
  }

  __device__ void make_norms() const {
    const float sum = warp_sum(squares_);
    if (lane_ != 0) return;
    const float norm = rsqrtf(sum / static_cast<float>(args_.cols) + args_.eps);
    space_.norms[warp_] = norm;
    if (blockIdx.y == 0 && warp_ < rows_) args_.norms[row_ + warp_] = norm;
  }

  __device__ void write() const {
#pragma unroll
    for (int i = 0; i < kExperts; ++i) {
#pragma unroll
      for (int row = 0; row < kRouteRows; ++row) {
        if (row >= rows_) break;
        const float sum = warp_sum(sums_[i][row]);
        if (lane_ != 0 || expert_ + i >= args_.experts) continue;
        args_.logits[static_cast<long long>(row_ + row) * args_.experts +
                     expert_ + i] = sum * space_.norms[row];
      }
    }
  }

  const RouteArgs& args_;
  const RouteSpace& space_;
  int warp_;
  int lane_;
  int row_;  // the block's first
  int rows_;
  int expert_;  // the warp's first
  int chunk_;   // columns of x at a time
  float squares_ = 0;
  float sums_[kExperts][kRouteRows] = {};
};

/// Whether this is the last block of its rows.
__device__ bool is_last(const RouteArgs& args, const RouteSpace& space) {
  __syncthreads();
  if (threadIdx.x == 0) {
    auto* counter = args.counters + blockIdx.x;
    *space.is_last = count_arrival(counter) + 1 == gridDim.y ? 1 : 0;
    if (*space.is_last != 0) *counter = 0;
  }
  __syncthreads();
  return *space.is_last != 0;
}

/// Experts of the block's rows, a warp for each.
__device__ void choose(const RouteArgs& args, float* values) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int row = static_cast<int>(blockIdx.x) * kRouteRows + warp;
  auto* mine = values + warp * args.experts;
  if (row < args.rows) {
    for (int i = static_cast<int>(threadIdx.x) % kWarpSize; i < args.experts;
         i += kWarpSize) {
      mine[i] = load_fresh(args.logits +
                           static_cast<long long>(row) * args.experts + i);
    }
    __syncwarp();
    ExpertChoice(args, row, mine).run();
  }
  __syncthreads();
  auto* masks = args.masks + static_cast<long long>(blockIdx.x) * args.experts;
  const int rows = smaller(
      args.rows - static_cast<int>(blockIdx.x) * kRouteRows, kRouteRows);
  for (int expert = static_cast<int>(threadIdx.x); expert < args.experts;
       expert += kRouteThreads) {
    unsigned mask = 0;
    for (int i = 0; i < rows; ++i) {
      // NaN, too, is a share.
      if (!(values[i * args.experts + expert] < 0)) mask |= 1U << i;
    }
    masks[expert] = mask;
  }
}

template <int kExperts>
__device__ void route(const RouteArgs& args) {
  const RouteSpace space;
  Logits<kExperts> logits(args, space);
  logits.bring();
  wait_for_predecessor();
  let_successor_start();
  logits.run();
  if (!is_last(args, space)) return;
  choose(args, space.numbers);
  if (gridDim.x > 1) return;
  __syncthreads();
  RowOrder(args.order, reinterpret_cast<int*>(space.numbers)).run();
}

}  // namespace

LLAMLX_KERNEL(route_rows_e1, RouteArgs, kRouteThreads, 2) { route<1>(args); }
LLAMLX_KERNEL(route_rows_e4, RouteArgs, kRouteThreads, 2) { route<4>(args); }

LLAMLX_KERNEL(order_rows, OrderArgs, kOrderThreads, 1) {
  wait_for_predecessor();
  let_successor_start();
  RowOrder(args, reinterpret_cast<int*>(shared_memory())).run();
}

}  // namespace llamlx::cuda
