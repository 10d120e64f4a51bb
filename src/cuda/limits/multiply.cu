#include "cuda/intrinsics.h"
#include "cuda/limits/multiply.h"
#include "cuda/matmul/warpgroup.h"

namespace llamlx::cuda {
namespace {

/// Two numbers of 1 to 2, or -1 to -2, that look random: zeros would cost less
/// power, and the matrix unit runs faster on them.
__device__ std::uint32_t two_numbers(unsigned at) {
  at = (at + 1U) * 0x9e3779b9U;
  at ^= at >> 15;
  at *= 0x85ebca6bU;
  at ^= at >> 13;
  return (at & 0x83ff83ffU) | 0x3c003c00U;
}

template <int kSums>
__device__ void keep(const MultiplyArgs& args, const float (&sums)[kSums][4]) {
  float all = 0;
#pragma unroll
  for (int i = 0; i < kSums; ++i) {
    all += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
  }
  if (all == 1.25e-30F) *args.sink = all;
}

}  // namespace

LLAMLX_KERNEL(multiply_mma, MultiplyArgs, kMultiplyThreads, 2) {
  std::uint32_t a[4][4];
  std::uint32_t b[4][2];
  for (unsigned i = 0; i < 4; ++i) {
    for (unsigned j = 0; j < 4; ++j) {
      a[i][j] = two_numbers(threadIdx.x * 32 + i * 8 + j);
    }
    for (unsigned j = 0; j < 2; ++j) {
      b[i][j] = two_numbers(threadIdx.x * 32 + i * 8 + 4 + j);
    }
  }
  float sums[kMmaAtOnce][4] = {};
  wait_for_predecessor();
  let_successor_start();
  for (int step = 0; step < args.steps; ++step) {
#pragma unroll
    for (int i = 0; i < kMmaAtOnce; ++i) {
      multiply_add(F16{}, sums[i], a[i / 4], b[i % 4]);
    }
  }
  keep(args, sums);
}

LLAMLX_KERNEL(multiply_warpgroups, MultiplyArgs, kMultiplyThreads, 1) {
#ifdef LLAMLX_HAS_WARPGROUPS
  constexpr int kRowBytes = 64 * 2;
  auto* memory = memory_of_operands();
  auto* words = reinterpret_cast<std::uint32_t*>(memory);
  for (unsigned i = threadIdx.x; i < kWarpgroupBytes / 4;
       i += kMultiplyThreads) {
    words[i] = two_numbers(i);
  }
  show_to_matrix_unit();
  __syncthreads();
  const int group = static_cast<int>(threadIdx.x) / 128;
  float sums[32][4] = {};
  wait_for_predecessor();
  let_successor_start();
  for (int step = 0; step < args.steps; ++step) {
    begin_products();
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      multiply_warpgroup(F16{}, sums,
                         describe_tiles(memory + group * 64 * kRowBytes, s),
                         describe_rows(memory + 2 * 64 * kRowBytes, s));
    }
    commit_products();
    wait_for_products<1>();
  }
  wait_for_products<0>();
  keep(args, sums);
#else
  (void)args;
#endif
}

}  // namespace llamlx::cuda
