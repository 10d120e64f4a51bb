#include "cuda/experts/load_group.h"
#include "cuda/experts/stages.h"
#include "cuda/matmul/row_loads.h"
#include "cuda/matmul/stage_quad.h"

namespace llamlx::cuda {
namespace {

template <typename Operand>
__device__ void make_group_stages(const GroupStageArgs& args) {
  wait_for_predecessor();
  let_successor_start();
  const int index = static_cast<int>(blockIdx.y);
  const auto group = load_group(args.groups, index);
  if (group.count == 0) return;
  const int row = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  const bool is_there = row < group.count;
  int from = is_there ? group.first + row : 0;
  if (args.rows_of != nullptr) from = load_fresh(args.rows_of + from);
  const auto* x = args.x + static_cast<long long>(from) * args.cols;
  const int cols = is_there ? args.cols : 0;
  const float by = args.norms == nullptr ? 1 : load_fresh(args.norms + from);
  auto out = args.out;
  out.bytes += index * args.stride;
  const int end = args.tiles * kTileCols;
  // By whole warps, whose lanes have something of each other.
  for (int first = 4 * (thread - thread % kWarpSize); first < end;
       first += 4 * kStageThreads) {
    const int col = first + 4 * (thread % kWarpSize);
    auto v = load_row(x, col, cols);
    const auto w = load_norm(args.norm, col, cols);
#pragma unroll
    for (int j = 0; j < 4; ++j) v.f[j] *= by * w.f[j];
    write_quad<Operand>(out, row, col, col < end, v);
  }
}

}  // namespace

LLAMLX_KERNEL(make_group_stages_f16, GroupStageArgs, kStageThreads, 1) {
  make_group_stages<F16>(args);
}
LLAMLX_KERNEL(make_group_stages_bf16, GroupStageArgs, kStageThreads, 1) {
  make_group_stages<Bf16>(args);
}

}  // namespace llamlx::cuda
