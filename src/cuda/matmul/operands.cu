#include "cuda/matmul/operands.h"
#include "cuda/matmul/packed_weight.h"
#include "cuda/matmul/row_loads.h"

namespace llamlx::cuda {
namespace {

constexpr int kWarps = kOperandThreads / kWarpSize;

/// Of a row: the sum of its squares, and the largest product with the norm.
struct Statistics {
  float squares;
  float largest;
};

__device__ Statistics statistics(const OperandArgs& args, const float* x) {
  Statistics mine = {0, 0};
  for (int col = 4 * static_cast<int>(threadIdx.x); col < args.cols;
       col += 4 * kOperandThreads) {
    const auto v = load_row(x, col, args.cols);
    const auto w = load_norm(args.norm, col, args.cols);
    for (int j = 0; j < 4; ++j) {
      mine.squares += v.f[j] * v.f[j];
      mine.largest = fmaxf(mine.largest, fabsf(v.f[j] * w.f[j]));
    }
  }
  mine.squares = warp_sum(mine.squares);
  mine.largest = warp_max(mine.largest);
  auto* all = reinterpret_cast<Statistics*>(shared_memory());
  const int thread = static_cast<int>(threadIdx.x);
  if (thread % kWarpSize == 0) all[thread / kWarpSize] = mine;
  __syncthreads();
  mine = all[0];
  for (int i = 1; i < kWarps; ++i) {
    mine.squares += all[i].squares;
    mine.largest = fmaxf(mine.largest, all[i].largest);
  }
  return mine;
}

/// Where two columns of a row from `col` on lie; but for fragments, four.
__device__ std::uint32_t* place_of(const OperandArgs& args, int plane, int row,
                                   int col) {
  const auto planes_before = static_cast<long long>(plane) * args.rows;
  if (args.order == OperandOrder::rows) {
    return reinterpret_cast<std::uint32_t*>(
        args.out + (planes_before + row) * args.stride + col);
  }
  const auto tile = static_cast<long long>(col / kTileCols) * args.rows + row;
  return reinterpret_cast<std::uint32_t*>(
      args.out + planes_before * args.stride + tile * kTileCols +
      place_in_row(args.order, row, col % kTileCols));
}

template <typename Operand>
__device__ void make_operands(const OperandArgs& args) {
  wait_for_predecessor();
  let_successor_start();
  const int row = static_cast<int>(blockIdx.x);
  const auto* x = args.x + static_cast<long long>(row) * args.cols;
  const auto [squares, largest] = statistics(args, x);
  const float norm =
      args.norm == nullptr
          ? 1
          : rsqrtf(squares / static_cast<float>(args.cols) + args.eps);
  const float range = range_scale(largest * norm);
  if (threadIdx.x == 0) args.scales[row] = 1 / range;
  for (int col = 4 * static_cast<int>(threadIdx.x); col < args.stride;
       col += 4 * kOperandThreads) {
    auto v = load_row(x, col, args.cols);
    const auto w = load_norm(args.norm, col, args.cols);
    for (int j = 0; j < 4; ++j) v.f[j] *= w.f[j] * (norm * range);
    for (int plane = 0; plane < args.planes; ++plane) {
      const Words2 four = {
          {split2<Operand>(v.f[0], v.f[1]), split2<Operand>(v.f[2], v.f[3])}};
      auto* to = place_of(args, plane, row, col);
      if (args.order == OperandOrder::fragments) {
        to[0] = four.w[0];
        *place_of(args, plane, row, col + 2) = four.w[1];
      } else {
        *reinterpret_cast<Words2*>(to) = four;
      }
    }
  }
}

}  // namespace

LLAMLX_KERNEL(make_operands_f16, OperandArgs, kOperandThreads, 1) {
  make_operands<F16>(args);
}
LLAMLX_KERNEL(make_operands_bf16, OperandArgs, kOperandThreads, 1) {
  make_operands<Bf16>(args);
}

}  // namespace llamlx::cuda
