#include "cuda/matmul/expand.h"
#include "cuda/matmul/weight_tile.h"

namespace llamlx::cuda {
namespace {

template <typename Tile>
__device__ void expand(const ExpandArgs& args) {
  const long long thread =
      static_cast<long long>(blockIdx.x) * kExpandThreads + threadIdx.x;
  const long long at = thread / kWarpSize;
  const int lane = static_cast<int>(thread % kWarpSize);
  if (at >= args.tiles) return;
  Tile tile;
  tile.template load<FromGlobal>(args.weight + at * Tile::kBytes, lane);
  wait_for_predecessor();
  let_successor_start();
  std::uint32_t numbers[4][4];
  tile.make_numbers(numbers);
  DenseTile<F16>::store(args.out + at * DenseTile<F16>::kBytes, lane, numbers);
}

}  // namespace

#define LLAMLX_EXPAND_KERNEL(bits, group, type, Type)                \
  LLAMLX_KERNEL(expand_affine##bits##_g##group##_##type, ExpandArgs, \
                kExpandThreads, 1) {                                 \
    expand<AffineTile<bits, group, Type>>(args);                     \
  }
#define LLAMLX_EXPAND_KERNELS(bits)          \
  LLAMLX_EXPAND_KERNEL(bits, 32, f32, F32)   \
  LLAMLX_EXPAND_KERNEL(bits, 32, f16, F16)   \
  LLAMLX_EXPAND_KERNEL(bits, 32, bf16, Bf16) \
  LLAMLX_EXPAND_KERNEL(bits, 64, f32, F32)   \
  LLAMLX_EXPAND_KERNEL(bits, 64, f16, F16)   \
  LLAMLX_EXPAND_KERNEL(bits, 64, bf16, Bf16)

LLAMLX_EXPAND_KERNELS(2)
LLAMLX_EXPAND_KERNELS(3)
LLAMLX_EXPAND_KERNELS(4)
LLAMLX_EXPAND_KERNELS(5)
LLAMLX_EXPAND_KERNELS(6)
LLAMLX_EXPAND_KERNELS(8)

}  // namespace llamlx::cuda
