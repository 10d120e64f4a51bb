#include "cuda/matmul/formats.h"
#include "cuda/matmul/some_rows_warpgroups.h"

namespace llamlx::cuda {
namespace {

#ifdef LLAMLX_HAS_WARPGROUPS

/// The columns of a tile that have a scale in common, as a lane multiplies
/// them.
template <typename S>
struct Unit {
  static constexpr int kSteps = 4 / S::kGroups;

  std::uint32_t operands[kSteps][4];
  float scales[2];  // of row g, and of row g + 8
  float biases[2];

  __device__ void make(const typename S::Tile& tile, int group) {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      tile.fragment(group * kSteps + s, operands[s]);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      scales[half] = tile.scale(group, half);
      biases[half] = tile.bias(group, half);
    }
  }
};

/// Makes the units of a warp's tiles.
template <typename S>
class Units {
 public:
  __device__ Units(const SomeRowsArgs& args, const Part& part,
                   Chunks<S>& chunks)
      : tiles_(args, part, chunks) {}

  /// Makes the next, unit `index` of its stage.
  __device__ void make_next(Unit<S>& unit, int index) {
    if (index % S::kGroups == 0) tiles_.load(tile_, index / S::kGroups);
    unit.make(tile_, index % S::kGroups);
  }

 private:
  TilesOfWarp<S> tiles_;
  typename S::Tile tile_;
};

/// A stage of x, unit by unit.
template <typename S>
class UnitsOfX {
 public:
  __device__ UnitsOfX(const unsigned char* bytes, const OperandStage& stage,
                      int lane)
      : numbers_(describe_rows(bytes, 0)),
        facts_(reinterpret_cast<const float*>(bytes + stage.facts_byte()) +
               lane % 4 * 4) {}

  /// Begins the products of unit `index`.
  template <typename Planes>
  __device__ void multiply(int index, const Unit<S>& unit, Planes planes,
                           typename S::Sums& products) const {
    using Operand = typename S::Tile::Operand;
    constexpr int kTile = kDescribedTile<S>;
    const int tile = index / S::kGroups * kTile;
#pragma unroll
    for (int s = 0; s < Unit<S>::kSteps; ++s) {
      const int step = index % S::kGroups * Unit<S>::kSteps + s;
      const auto x = numbers_ + (tile + step * kDescribedStep);
      if (s == 0) {
        multiply_warpgroup<false>(Operand{}, products, unit.operands[s], x);
      } else {
        multiply_warpgroup(Operand{}, products, unit.operands[s], x);
      }
#pragma unroll
      for (int plane = 1; plane < planes; ++plane) {
        multiply_warpgroup(Operand{}, products, unit.operands[s],
                           x + plane * OperandStage::kTiles * kTile);
      }
    }
  }

  /// Adds them up, when they are there.
  __device__ void add(int index, const Unit<S>& unit,
                      const typename S::Sums& products,
                      typename S::Sums& acc) const {
#pragma unroll
    for (int n = 0; n < S::kColumns; ++n) {
      const auto facts = *reinterpret_cast<const Floats4*>(
          facts_ + index * 2 * S::kRows + n * 16);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float product = facts.f[i % 2] * products[n][i];
        if constexpr (S::Tile::kGroups == 0) {
          acc[n][i] += product;
        } else {
          acc[n][i] = fmaf(unit.scales[i / 2], product, acc[n][i]);
          acc[n][i] = fmaf(unit.biases[i / 2], facts.f[2 + i % 2], acc[n][i]);
        }
      }
    }
  }

 private:
  std::uint64_t numbers_;  // described
  const float* facts_;
};

/// The products of a unit are on their way while the next is made, in other
/// registers.
template <typename S>
struct ProductsByWarpgroups {
  static __device__ void add(const SomeRowsArgs& args, const Part& part,
                             const OperandStage& stage, Chunks<S>& chunks,
                             XStages& stages, typename S::Sums& acc) {
    // There are no more. Products in a loop of unknown length would each be
    // waited for.
    const int planes = args.products.planes;
    if (planes == 1) {
      add_planes(args, part, stage, chunks, stages, PlaneCount<1>{}, acc);
    } else if (planes == 2) {
      add_planes(args, part, stage, chunks, stages, PlaneCount<2>{}, acc);
    } else {
      add_planes(args, part, stage, chunks, stages, PlaneCount<3>{}, acc);
    }
  }

 private:
  template <typename Planes>
  static __device__ void add_planes(const SomeRowsArgs& args, const Part& part,
                                    const OperandStage& stage,
                                    Chunks<S>& chunks, XStages& stages,
                                    Planes planes, typename S::Sums& acc) {
    constexpr int kUnits = OperandStage::kTiles * S::kGroups;  // of a stage
    Units<S> units(args, part, chunks);
    Unit<S> unit[2];
    typename S::Sums products = {};
    units.make_next(unit[0], 0);
    for (int first = 0; first < part.tiles; first += OperandStage::kTiles) {
      const UnitsOfX<S> x(stages.wait(), stage, part.lane);
      stages.ask();
      const int count = (part.tiles - first) * S::kGroups;
#pragma unroll
      for (int i = 0; i < kUnits; ++i) {
        if (i >= count) break;
        begin_products();
        x.multiply(i, unit[i % 2], planes, products);
        commit_products();
        units.make_next(unit[(i + 1) % 2], (i + 1) % kUnits);
        wait_for_products<0>();
        x.add(i, unit[i % 2], products, acc);
      }
    }
  }
};

template <typename Tile, int kColumns>
__device__ void some_rows_hopper(const SomeRowsArgs& args) {
  using S = SomeRowsShape<Tile, kColumns, OperandOrder::fragments>;
  some_rows<S, ProductsByWarpgroups, SlicesInCluster>(args,
                                                      memory_of_operands());
}

#else

template <typename Tile, int kColumns>
__device__ void some_rows_hopper(const SomeRowsArgs&) {}

#endif  // LLAMLX_HAS_WARPGROUPS

}  // namespace

#define LLAMLX_SOME_ROWS_KERNEL(name, columns, ...)                 \
  LLAMLX_KERNEL(some_rows_hopper_##name##_n##columns, SomeRowsArgs, \
                kSomeRowsThreads, kSomeRowsHopperTogether) {        \
    some_rows_hopper<__VA_ARGS__, columns>(args);                   \
  }
#define LLAMLX_SOME_ROWS_KERNELS(name, ...)     \
  LLAMLX_SOME_ROWS_KERNEL(name, 2, __VA_ARGS__) \
  LLAMLX_SOME_ROWS_KERNEL(name, 4, __VA_ARGS__) \
  LLAMLX_SOME_ROWS_KERNEL(name, 8, __VA_ARGS__)

LLAMLX_FORMATS_OF_16_BITS(LLAMLX_SOME_ROWS_KERNELS)

}  // namespace llamlx::cuda
