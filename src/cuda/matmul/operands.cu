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

/// Of all threads together.
__device__ Statistics together(Statistics mine) {
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

/// Four columns of a row times the norm's weights, and what they add to the
/// row's statistics.
__device__ Floats4 weigh(const OperandArgs& args, const float* x, int col,
                         Statistics& statistics) {
  auto v = load_row(x, col, args.cols);
  const auto w = load_norm(args.norm, col, args.cols);
  for (int j = 0; j < 4; ++j) {
    statistics.squares += v.f[j] * v.f[j];
    v.f[j] *= w.f[j];
    statistics.largest = fmaxf(statistics.largest, fabsf(v.f[j]));
  }
  return v;
}

/// How a row becomes operands, once its statistics are known.
struct Scale {
  float norm;
  float range;

  __device__ Scale(const OperandArgs& args, int row,
                   const Statistics& statistics) {
    const float mean = statistics.squares / static_cast<float>(args.cols);
    norm = args.norm == nullptr ? 1 : rsqrtf(mean + args.eps);
    range = range_scale(statistics.largest * norm);
    if (threadIdx.x == 0) args.scales[row] = inverse_range(range);
  }
};

template <typename Operand>
__device__ void store(const OperandArgs& args, int row, int col, Floats4 v,
                      const Scale& scale) {
  for (int j = 0; j < 4; ++j) v.f[j] *= scale.norm * scale.range;
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

template <typename Operand>
__device__ void make_operands(const OperandArgs& args) {
  wait_for_predecessor();
  let_successor_start();
  constexpr int kStep = 4 * kOperandThreads;
  constexpr int kKept = 4;  // of a row's steps, in registers
  const int row = static_cast<int>(blockIdx.x);
  const auto* x = args.x + static_cast<long long>(row) * args.cols;
  const int first = 4 * static_cast<int>(threadIdx.x);
  Statistics mine = {0, 0};
  Floats4 kept[kKept];
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    kept[i] = weigh(args, x, first + i * kStep, mine);
  }
  for (int col = first + kKept * kStep; col < args.cols; col += kStep) {
    weigh(args, x, col, mine);
  }
  const Scale scale(args, row, together(mine));
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int col = first + i * kStep;
    if (col < args.stride) store<Operand>(args, row, col, kept[i], scale);
  }
  for (int col = first + kKept * kStep; col < args.stride; col += kStep) {
    store<Operand>(args, row, col, weigh(args, x, col, mine), scale);
  }
}

}  // namespace

LLAMLX_KERNEL(make_operands_f16, OperandArgs, kOperandThreads, 4) {
  make_operands<F16>(args);
}
LLAMLX_KERNEL(make_operands_bf16, OperandArgs, kOperandThreads, 4) {
  make_operands<Bf16>(args);
}

}  // namespace llamlx::cuda
