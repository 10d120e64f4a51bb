#include "cuda/experts/add.h"
#include "cuda/matmul/row_loads.h"
#include "cuda/matmul/stage_quad.h"

namespace llamlx::cuda {
namespace {

/// What an expert made of a row: where, and its part in the sum.
struct Output {
  int place;
  float share;
};

/// Those of this block's row, in shared memory, by all threads.
__device__ const Output* load_outputs(const AddExpertsArgs& args, int row) {
  auto* outputs = reinterpret_cast<Output*>(shared_memory());
  const auto first = static_cast<long long>(row) * args.used;
  const auto* places = args.places + static_cast<long long>(row) * args.experts;
  for (int i = static_cast<int>(threadIdx.x); i < args.used; i += kAddThreads) {
    const int expert = load_fresh(args.chosen + first + i);
    outputs[i] = {load_fresh(places + expert),
                  load_fresh(args.shares + first + i)};
  }
  __syncthreads();
  return outputs;
}

__device__ Floats4 sum_of(const AddExpertsArgs& args, const Output* outputs,
                          int col) {
  Floats4 sum{};
#pragma unroll 4
  for (int i = 0; i < args.used; ++i) {
    const auto [place, share] = outputs[i];
    const auto y = load_fresh(reinterpret_cast<const Floats4*>(
        args.outputs + static_cast<long long>(place) * args.cols + col));
#pragma unroll
    for (int j = 0; j < 4; ++j) sum.f[j] = fmaf(share, y.f[j], sum.f[j]);
  }
  return sum;
}

/// Four columns of a row as operands; by a whole warp, which has 128 columns
/// and their sum of squares.
template <typename Operand>
__device__ void make_operands(const AddExpertsArgs& args, int row, int col,
                              Floats4 y) {
  const auto& next = args.next;
  if (next.squares != nullptr) {
    float squares = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) squares += y.f[j] * y.f[j];
    squares = warp_sum(squares);
    constexpr int kCols = kSomeRowsWarps * kTileRows;
    if (col % kCols == 0) {
      next.squares[col / kCols * next.stages.stage.rows + row] = squares;
    }
  }
  const auto weights = load_norm(next.norm, col, args.cols);
#pragma unroll
  for (int j = 0; j < 4; ++j) y.f[j] *= weights.f[j];
  const int end = ceil_divide(args.cols, kTileCols) * kTileCols;
  write_quad<Operand>(next.stages, row, col, col < end, y);
}

template <typename Operand>
__device__ void add_experts(const AddExpertsArgs& args) {
  wait_for_predecessor();
  let_successor_start();
  const int row = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  const bool is_there = row < args.rows;
  const auto* outputs = is_there ? load_outputs(args, row) : nullptr;
  auto* x = args.x + static_cast<long long>(row) * args.cols;
  // By whole warps, whose lanes have something of each other.
  for (int first = 4 * (thread - thread % kWarpSize); first < args.cols;
       first += 4 * kAddThreads) {
    const int col = first + 4 * (thread % kWarpSize);
    Floats4 y{};
    if (is_there && col < args.cols) {
      y = load_fresh(reinterpret_cast<const Floats4*>(x + col));
      const auto sum = sum_of(args, outputs, col);
#pragma unroll
      for (int j = 0; j < 4; ++j) y.f[j] += sum.f[j];
      *reinterpret_cast<Floats4*>(x + col) = y;
    }
    if (args.next.stages.bytes != nullptr) {
      make_operands<Operand>(args, row, col, y);
    }
  }
}

}  // namespace

LLAMLX_KERNEL(add_experts_f16, AddExpertsArgs, kAddThreads, 1) {
  add_experts<F16>(args);
}
LLAMLX_KERNEL(add_experts_bf16, AddExpertsArgs, kAddThreads, 1) {
  add_experts<Bf16>(args);
}

}  // namespace llamlx::cuda
