#include "cuda/intrinsics.h"
#include "cuda/token/argmax.h"

namespace llamlx::cuda {
namespace {

constexpr int kWarps = kArgmaxThreads / kWarpSize;

/// The larger of two; of equals the first; of any that is not finite, that.
__device__ LargestValue larger(const LargestValue& a, const LargestValue& b) {
  if (a.index < 0 || b.index < 0) return {0, -1};
  if (a.value != b.value) return a.value > b.value ? a : b;
  return a.index < b.index ? a : b;
}

/// Of all threads of the block; the first thread gets it.
__device__ LargestValue of_block(LargestValue mine) {
  auto* values = reinterpret_cast<LargestValue*>(shared_memory());
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    const LargestValue other = {__shfl_xor_sync(kAllLanes, mine.value, step),
                                __shfl_xor_sync(kAllLanes, mine.index, step)};
    mine = larger(mine, other);
  }
  const int thread = static_cast<int>(threadIdx.x);
  if (thread % kWarpSize == 0) values[thread / kWarpSize] = mine;
  __syncthreads();
  for (int i = 0; thread == 0 && i < kWarps; ++i) {
    mine = larger(mine, values[i]);
  }
  return mine;
}

constexpr int kNone = 0x7fffffff;

}  // namespace

LLAMLX_KERNEL(argmax_rows, ArgmaxArgs, kArgmaxThreads, 1) {
  wait_for_predecessor();
  let_successor_start();
  const int row = static_cast<int>(blockIdx.y);
  const int thread = static_cast<int>(threadIdx.x);
  const auto* x = args.x + static_cast<long long>(row) * args.size;
  LargestValue mine = {-HUGE_VALF, kNone};
  for (int i = static_cast<int>(blockIdx.x) * kArgmaxThreads + thread;
       i < args.size; i += kArgmaxBlocks * kArgmaxThreads) {
    const float value = load_fresh(x + i);
    const bool is_finite = fabsf(value) < HUGE_VALF;
    mine = larger(mine, {value, is_finite ? i : -1});
  }
  mine = of_block(mine);
  if (thread != 0) return;
  auto* parts = args.parts + row * kArgmaxBlocks;
  parts[blockIdx.x] = mine;
  if (count_arrival(args.counters + row) != kArgmaxBlocks - 1) return;
  for (int i = 0; i < kArgmaxBlocks; ++i) {
    mine = larger(mine,
                  {load_fresh(&parts[i].value), load_fresh(&parts[i].index)});
  }
  args.counters[row] = 0;
  args.tokens[row] = mine.index;
  args.host_tokens[load_fresh(args.slot) * kTokenSlotRows + row] = mine.index;
}

}  // namespace llamlx::cuda
