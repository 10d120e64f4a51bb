#pragma once

#include "cuda/matmul/few_rows.h"
#include "cuda/matmul/weight_tile.h"

// What the parts of few_rows.cu share.
namespace llamlx::cuda {

// What x is held as.
template <bool kIsWide>
struct NumberOf {
  using Type = std::uint16_t;
};
template <>
struct NumberOf<true> {
  using Type = float;
};
template <bool kIsWide>
using Number = typename NumberOf<kIsWide>::Type;

/// The block's shared memory.
template <typename Tile>
struct FewRowsSpace {
  static constexpr bool kIsWide =
      number_type(typename Tile::Operand{}) == NumberType::f32;
  using X = Number<kIsWide>;

  unsigned char* ring;      // [kFewRowsWarps][stages] chunks of the weight
  std::uint64_t* barriers;  // [kFewRowsWarps][stages]
  X* x;                     // [planes][rows][stride]
  float* sums;              // [groups][8]: of x, where scales are shared
  float* partial;           // [2][kFewRowsWarps][kFewRowsPartial]
  float* squares;  // [kFewRowsWarps], then the largest values [kFewRowsWarps]
  float* scales;   // [8]: what the sums of a row of x are multiplied by
  int chunk;       // tiles
  int stride;

  __device__ explicit FewRowsSpace(const FewRowsArgs& args)
      : chunk(args.chunk), stride(few_rows_stride(args.tiles)) {
    auto* bytes = shared_memory();
    const int chunks = kFewRowsWarps * args.stages;
    ring = bytes;
    bytes += chunks * chunk * Tile::kBytes;
    barriers = reinterpret_cast<std::uint64_t*>(bytes);
    bytes += chunks * 8;
    x = reinterpret_cast<X*>(bytes);
    bytes += sizeof(X) * args.planes * args.rows * stride;
    sums = reinterpret_cast<float*>(bytes);
    partial = sums + Tile::kGroups * args.tiles * 8;
    squares = partial + 2 * kFewRowsWarps * kFewRowsPartial;
    scales = squares + 2 * kFewRowsWarps;
  }
};

}  // namespace llamlx::cuda
