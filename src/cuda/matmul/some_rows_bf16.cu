#include "cuda/matmul/formats.h"
#include "cuda/matmul/some_rows_warpgroups.h"

namespace llamlx::cuda {
namespace {

#ifdef LLAMLX_HAS_WARPGROUPS

/// A tile's numbers, as a lane multiplies them.
using Numbers = std::uint32_t[4][4];

/// Makes those of a warp's tiles.
template <typename S>
class NumbersOfWarp {
 public:
  __device__ NumbersOfWarp(const SomeRowsArgs& args, const Part& part,
                           Chunks<S>& chunks)
      : tiles_(args, part, chunks) {}

  /// Of the next, tile `index` of its stage.
  __device__ void make_next(Numbers& numbers, int index) {
    typename S::Tile tile;
    tiles_.load(tile, index);
#pragma unroll
    for (int s = 0; s < 4; ++s) tile.bf16_numbers(s, numbers[s]);
  }

 private:
  TilesOfWarp<S> tiles_;
};

/// Begins the products of a tile, `index` of its stage of x.
template <typename S>
__device__ void multiply_tile(const Numbers& numbers, std::uint64_t x,
                              int index, typename S::Sums& acc) {
#pragma unroll
  for (int s = 0; s < 4; ++s) {
    multiply_warpgroup(Bf16{}, acc, numbers[s],
                       x + (index * kDescribedTile<S> + s * kDescribedStep));
  }
}

/// The products of a tile are on their way while the numbers of the next are
/// made, in other registers.
template <typename S>
struct ProductsOfNumbers {
  static __device__ void add(const SomeRowsArgs& args, const Part& part,
                             const OperandStage&, Chunks<S>& chunks,
                             XStages& stages, typename S::Sums& acc) {
    NumbersOfWarp<S> warp(args, part, chunks);
    Numbers numbers[2];
    warp.make_next(numbers[0], 0);
    for (int first = 0; first < part.tiles; first += OperandStage::kTiles) {
      wait_for_products<0>();  // with a stage that will be written over
      const auto x = describe_rows(alike(stages.wait()), 0);
      stages.ask();
      const int count = part.tiles - first;
#pragma unroll
      for (int i = 0; i < OperandStage::kTiles; ++i) {
        if (i >= count) break;
        begin_products();
        multiply_tile<S>(numbers[i % 2], x, i, acc);
        commit_products();
        wait_for_products<1>();
        warp.make_next(numbers[(i + 1) % 2], (i + 1) % OperandStage::kTiles);
      }
    }
    wait_for_products<0>();
  }
};

template <typename Tile, int kColumns>
__device__ void some_rows_bf16(const SomeRowsArgs& args) {
  using S = SomeRowsShape<Tile, kColumns, OperandOrder::fragments, Bf16, 0>;
  some_rows<S, ProductsOfNumbers, SlicesInCluster>(args, memory_of_operands());
}

#else

template <typename Tile, int kColumns>
__device__ void some_rows_bf16(const SomeRowsArgs&) {}

#endif  // LLAMLX_HAS_WARPGROUPS

}  // namespace

#define LLAMLX_SOME_ROWS_KERNEL(name, columns, ...)               \
  LLAMLX_KERNEL(some_rows_bf16_##name##_n##columns, SomeRowsArgs, \
                kSomeRowsThreads, kSomeRowsHopperTogether) {      \
    some_rows_bf16<__VA_ARGS__, columns>(args);                   \
  }
#define LLAMLX_SOME_ROWS_KERNELS(name, ...)     \
  LLAMLX_SOME_ROWS_KERNEL(name, 4, __VA_ARGS__) \
  LLAMLX_SOME_ROWS_KERNEL(name, 8, __VA_ARGS__)
#define LLAMLX_SOME_ROWS_CODES(bits)                   \
  LLAMLX_SOME_ROWS_KERNELS(affine##bits##_g32_bf16,    \
                           AffineTile<bits, 32, Bf16>) \
  LLAMLX_SOME_ROWS_KERNELS(affine##bits##_g64_bf16, AffineTile<bits, 64, Bf16>)

LLAMLX_SOME_ROWS_KERNELS(bf16, DenseTile<Bf16>)
LLAMLX_SOME_ROWS_CODES(2)
LLAMLX_SOME_ROWS_CODES(3)
LLAMLX_SOME_ROWS_CODES(4)
LLAMLX_SOME_ROWS_CODES(5)
LLAMLX_SOME_ROWS_CODES(6)
LLAMLX_FLOAT_FORMATS(LLAMLX_SOME_ROWS_KERNELS)

}  // namespace llamlx::cuda
