#include "cuda/intrinsics.h"
#include "cuda/token/largest_value.h"

namespace llamlx::cuda {

LLAMLX_KERNEL(argmax_rows, ArgmaxArgs, kArgmaxThreads, 1) {
  wait_for_predecessor();
  let_successor_start();
  const int row = static_cast<int>(blockIdx.y);
  const int thread = static_cast<int>(threadIdx.x);
  const auto* x = args.x + static_cast<long long>(row) * args.size;
  Draw draw;
  draw.temperature = load_fresh(&args.choice->draw.temperature);
  for (int i = 0; i < 2; ++i) {
    draw.key[i] = load_fresh(&args.choice->draw.key[i]);
  }
  auto mine = no_value();
  constexpr int kStep = kArgmaxBlocks * kArgmaxThreads;
  constexpr int kAtOnce = 8;  // what is asked for together arrives together
  for (int first = static_cast<int>(blockIdx.x) * kArgmaxThreads + thread;
       first < args.size; first += kAtOnce * kStep) {
    float values[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int at = first + i * kStep;
      values[i] = at < args.size ? load_fresh(x + at) : -HUGE_VALF;
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int at = first + i * kStep;
      if (at < args.size) {
        mine = larger(mine, seen_value(draw, values[i], at, row));
      }
    }
  }
  mine = largest_of_block(mine, shared_memory(), kArgmaxThreads);
  if (thread != 0) return;
  auto* parts = args.parts + row * kArgmaxBlocks;
  parts[blockIdx.x] = mine;
  if (count_arrival(args.counters + row) != kArgmaxBlocks - 1) return;
#pragma unroll
  for (int i = 0; i < kArgmaxBlocks; ++i) {
    mine = larger(mine,
                  {load_fresh(&parts[i].value), load_fresh(&parts[i].index)});
  }
  args.counters[row] = 0;
  args.tokens[row] = mine.index;
  args.host_tokens[load_fresh(&args.choice->slot) * kTokenSlotRows + row] =
      mine.index;
}

}  // namespace llamlx::cuda
