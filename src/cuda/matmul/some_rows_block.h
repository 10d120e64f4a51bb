#pragma once

#include "cuda/matmul/some_rows.h"
#include "cuda/matmul/weight_stream.h"
#include "cuda/matmul/weight_tile.h"
#include "cuda/matmul/x_stages.h"

namespace llamlx::cuda {

// What some_rows, some_rows_hopper and some_rows_bf16 share.

/// What a kernel is made for: weights of such tiles, and 8 kColumns rows of x
/// whose operands lie in that order, are of that type and have sums of so many
/// columns (0: none).
template <typename Tile_, int kColumns_, OperandOrder kOrder_,
          typename Operand_ = typename Tile_::Operand,
          int kSumGroup_ = some_rows_sum_group(Tile_::layout())>
struct SomeRowsShape {
  using Tile = Tile_;
  using Operand = Operand_;
  static constexpr int kSumGroup = kSumGroup_;
  static constexpr int kColumns = kColumns_;
  static constexpr OperandOrder kOrder = kOrder_;
  static constexpr int kRows = 8 * kColumns;                  // of x
  static constexpr int kGroups = Tile::kGroups == 2 ? 2 : 1;  // of x, in a tile
  static constexpr int kChunk = some_rows_chunk(Tile::kBytes);
  using Sums = float[kColumns][4];
};

/// A warp's part of the work, by numbers of blocks of 16 rows and of tiles.
struct Part {
  int warp;
  int lane;
  int block;
  int first_tile;
  int tiles;

  __device__ explicit Part(const SomeRowsArgs& args)
      : warp(static_cast<int>(threadIdx.x / kWarpSize)),
        lane(static_cast<int>(threadIdx.x % kWarpSize)),
        block(static_cast<int>(blockIdx.x) * kSomeRowsWarps + warp),
        first_tile(static_cast<int>(blockIdx.y) * args.slice *
                   OperandStage::kTiles),
        tiles(min(args.slice * OperandStage::kTiles,
                  args.products.tiles - first_tile)) {}
};

/// The block's shared memory.
template <typename S>
struct Space {
  unsigned char* x;         // stages of x
  unsigned char* ring;      // [kSomeRowsWarps][stages] chunks of the weight
  std::uint64_t* barriers;  // of the weight's chunks, then of x's
  float* scales;            // [S::kRows]: of products
  int* is_last;
  OperandStage stage;  // of x

  static constexpr int kStageBytes = S::kChunk * S::Tile::kBytes;
  static constexpr int kWeightStages = kSomeRowsWarps * kSomeRowsStages;
  static constexpr int kXStages = some_rows_x_stages(S::kColumns);

  __device__ Space(const SomeRowsArgs& args, unsigned char* memory)
      : x(memory),
        stage{S::kRows, args.products.planes, S::kSumGroup, S::kOrder} {
    ring = x + kXStages * stage.bytes();
    barriers =
        reinterpret_cast<std::uint64_t*>(ring + kWeightStages * kStageBytes);
    scales = reinterpret_cast<float*>(barriers + kWeightStages + kXStages);
    is_last = reinterpret_cast<int*>(scales + S::kRows);
  }
};

/// The chunks of a warp's rows, asked for in the order in which it reads them.
template <typename S>
class Chunks {
 public:
  __device__ Chunks(const SomeRowsArgs& args, const Space<S>& space,
                    const Part& part)
      : stream_(
            space.ring + part.warp * kSomeRowsStages * Space<S>::kStageBytes,
            kSomeRowsStages, Space<S>::kStageBytes,
            space.barriers + part.warp * kSomeRowsStages, part.lane),
        left_(part.block < args.products.row_blocks ? part.tiles : 0),
        next_(args.products.weight +
              (static_cast<long long>(part.block) * args.products.tiles +
               part.first_tile) *
                  S::Tile::kBytes) {
    for (int i = 0; i < kSomeRowsStages; ++i) ask();
  }

  __device__ void ask() {
    const int tiles = min(S::kChunk, left_);
    stream_.ask(next_, tiles * S::Tile::kBytes);
    next_ += tiles * S::Tile::kBytes;
    left_ -= tiles;
  }
  __device__ const unsigned char* wait() { return stream_.wait(); }
  __device__ const unsigned char* current() const { return stream_.current(); }
  __device__ void pass() { stream_.pass(); }

 private:
  WeightStream stream_;
  int left_;
  const unsigned char* next_;
};

/// What products are multiplied by: the rest of the norm. A warp for each row.
template <typename S>
__device__ void make_scales(const SomeRowsArgs& args, const Part& part,
                            float* scales) {
  const auto& norm = args.norm;
  for (int row = part.warp; row < S::kRows; row += kSomeRowsWarps) {
    float sum = 0;
    if (norm.squares != nullptr) {
      for (int i = part.lane; i < norm.parts; i += kWarpSize) {
        sum += load_fresh(norm.squares + i * S::kRows + row);
      }
      sum = warp_sum(sum);
    }
    if (part.lane != 0) continue;
    scales[row] = norm.squares == nullptr
                      ? 1
                      : rsqrtf(sum / static_cast<float>(norm.cols) + norm.eps);
  }
}

}  // namespace llamlx::cuda
