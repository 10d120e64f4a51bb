#include "cuda/matmul/row_loads.h"
#include "cuda/matmul/stage_quad.h"

namespace llamlx::cuda {
namespace {

/// Adds up a number of every thread, for the first.
__device__ float block_sum(float x) {
  constexpr int kWarps = kStageThreads / kWarpSize;
  auto* all = reinterpret_cast<float*>(shared_memory());
  const int thread = static_cast<int>(threadIdx.x);
  x = warp_sum(x);
  if (thread % kWarpSize == 0) all[thread / kWarpSize] = x;
  __syncthreads();
  if (thread >= kWarpSize) return 0;
  return warp_sum(thread < kWarps ? all[thread] : 0);
}

template <typename Operand>
__device__ void make_stages(const StageArgs& args) {
  wait_for_predecessor();
  let_successor_start();
  const int row = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  const int cols = row < args.rows ? args.cols : 0;
  const auto* x = args.x + static_cast<long long>(row) * args.cols;
  float squares = 0;
  const int end = args.tiles * kTileCols;
  // By whole warps, whose lanes have something of each other.
  for (int first = 4 * (thread - thread % kWarpSize); first < end;
       first += 4 * kStageThreads) {
    const int col = first + 4 * (thread % kWarpSize);
    auto v = load_row(x, col, cols);
    const auto w = load_norm(args.norm, col, cols);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      squares += v.f[j] * v.f[j];
      v.f[j] *= w.f[j];
    }
    write_quad<Operand>(args.out, row, col, col < end, v);
  }
  if (args.squares == nullptr) return;
  squares = block_sum(squares);
  if (thread == 0) args.squares[row] = squares;
}

}  // namespace

LLAMLX_KERNEL(make_stages_f16, StageArgs, kStageThreads, 1) {
  make_stages<F16>(args);
}
LLAMLX_KERNEL(make_stages_bf16, StageArgs, kStageThreads, 1) {
  make_stages<Bf16>(args);
}

}  // namespace llamlx::cuda
