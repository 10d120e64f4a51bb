#include "cuda/matmul/expand.h"
#include "cuda/matmul/formats.h"

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
  using Dense = DenseTile<typename Tile::Operand>;
  Dense::store(args.out + at * Dense::kBytes, lane, numbers);
}

}  // namespace

#define LLAMLX_EXPAND_KERNEL(name, ...)                         \
  LLAMLX_KERNEL(expand_##name, ExpandArgs, kExpandThreads, 1) { \
    expand<__VA_ARGS__>(args);                                  \
  }

LLAMLX_AFFINE_FORMATS(LLAMLX_EXPAND_KERNEL)
LLAMLX_FLOAT_FORMATS(LLAMLX_EXPAND_KERNEL)

}  // namespace llamlx::cuda
