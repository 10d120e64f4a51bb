#include "cuda/intrinsics.h"
#include "cuda/limits/read.h"

namespace llamlx::cuda {

LLAMLX_KERNEL(read_memory, ReadArgs, kReadThreads, 2) {
  constexpr int kAtOnce = 8;
  std::uint32_t all = 0;
  const long long step = static_cast<long long>(gridDim.x) * kReadThreads;
  long long at =
      static_cast<long long>(blockIdx.x) * kReadThreads + threadIdx.x;
  wait_for_predecessor();
  let_successor_start();
  for (; at + (kAtOnce - 1) * step < args.count; at += kAtOnce * step) {
    Words4 words[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      words[i] = load_once(args.words + at + i * step);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      all ^= words[i].w[0] ^ words[i].w[1] ^ words[i].w[2] ^ words[i].w[3];
    }
  }
  for (; at < args.count; at += step) {
    const auto words = load_once(args.words + at);
    all ^= words.w[0] ^ words.w[1] ^ words.w[2] ^ words.w[3];
  }
  if (all == 0x9e3779b9U) *args.sink = all;
}

}  // namespace llamlx::cuda
