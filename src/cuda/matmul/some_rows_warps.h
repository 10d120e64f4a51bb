#pragma once

#include "cuda/matmul/some_rows_output.h"

namespace llamlx::cuda {

/// What a lane reads of a stage of x.
struct LaneOfStage {
  const std::uint16_t* numbers;
  const float* facts;

  __device__ LaneOfStage(const unsigned char* bytes, const OperandStage& stage,
                         int lane)
      : numbers(reinterpret_cast<const std::uint16_t*>(bytes) +
                lane / 4 * OperandStage::kStride + lane % 4 * 8),
        facts(reinterpret_cast<const float*>(bytes + stage.facts_byte()) +
              lane % 4 * 4) {}

  /// Of a tile of the stage.
  template <typename S>
  __device__ LaneOfStage at(int tile) const {
    auto there = *this;
    there.numbers += tile * kTileCols;
    there.facts += tile * S::kGroups * 2 * S::kRows;
    return there;
  }
};

/// acc += the products of a tile. `planes`: a number, or a constant.
template <typename S, typename Planes>
__device__ void multiply_tile(const typename S::Tile& tile,
                              const LaneOfStage& x, Planes planes,
                              typename S::Sums& acc) {
  using Tile = typename S::Tile;
  constexpr int kRunsAGroup = 2 / S::kGroups;
  typename S::Sums c = {};
#pragma unroll
  for (int run = 0; run < 2; ++run) {
#pragma unroll
    for (int plane = 0; plane < planes; ++plane) {
      Words4 words[S::kColumns];
#pragma unroll
      for (int n = 0; n < S::kColumns; ++n) {
        words[n] = *reinterpret_cast<const Words4*>(
            x.numbers + (plane * S::kRows + n * 8) * OperandStage::kStride +
            32 * run);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        std::uint32_t a[4];
        tile.fragment(2 * run + i, a);
#pragma unroll
        for (int n = 0; n < S::kColumns; ++n) {
          const std::uint32_t b[2] = {words[n].w[2 * i], words[n].w[2 * i + 1]};
          multiply_add(typename Tile::Operand{}, c[n], a, b);
        }
      }
    }
    if ((run + 1) % kRunsAGroup != 0) continue;
    const int group = run / kRunsAGroup;
#pragma unroll
    for (int n = 0; n < S::kColumns; ++n) {
      const auto facts = *reinterpret_cast<const Floats4*>(
          x.facts + group * 2 * S::kRows + n * 16);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float product = facts.f[i % 2] * c[n][i];
        if constexpr (Tile::kGroups == 0) {
          acc[n][i] += product;
        } else {
          acc[n][i] = fmaf(tile.scale(group, i / 2), product, acc[n][i]);
          acc[n][i] =
              fmaf(tile.bias(group, i / 2), facts.f[2 + i % 2], acc[n][i]);
        }
        c[n][i] = 0;
      }
    }
  }
}

/// Products of a slice by "mma", each warp of its own rows of the weight.
template <typename S>
struct ProductsByWarps {
  static __device__ void add(const SomeRowsArgs& args, const Part& part,
                             const OperandStage& stage, Chunks<S>& chunks,
                             XStages& stages, typename S::Sums& acc) {
    const int planes = args.products.planes;
    if (planes == 1) {
      add_planes(args, part, stage, chunks, stages, PlaneCount<1>{}, acc);
    } else {
      add_planes(args, part, stage, chunks, stages, planes, acc);
    }
  }

 private:
  /// Whether all tiles of a chunk are loaded before the first is multiplied:
  /// sums of few rows leave the registers. (By itself a tile takes six times as
  /// long as its instructions.)
  static constexpr bool kLoadsAhead = S::kColumns == 1;

  template <typename Planes>
  static __device__ void add_planes(const SomeRowsArgs& args, const Part& part,
                                    const OperandStage& stage,
                                    Chunks<S>& chunks, XStages& stages,
                                    Planes planes, typename S::Sums& acc) {
    const bool is_there = part.block < args.products.row_blocks;
    for (int first = 0; first < part.tiles; first += OperandStage::kTiles) {
      const LaneOfStage x(stages.wait(), stage, part.lane);
      stages.ask();
      const int count = is_there ? part.tiles - first : 0;
#pragma unroll 1
      for (int from = 0; from < OperandStage::kTiles; from += S::kChunk) {
        if (from >= count) break;
        const auto* chunk = chunks.wait();
        if (kLoadsAhead && from + S::kChunk <= count) {
          multiply_chunk(chunk, part, x.at<S>(from), planes, acc);
        } else {
#pragma unroll
          for (int i = 0; i < S::kChunk; ++i) {
            if (from + i >= count) break;
            typename S::Tile tile;
            tile.template load<FromShared>(chunk + i * S::Tile::kBytes,
                                           part.lane);
            multiply_tile<S>(tile, x.at<S>(from + i), planes, acc);
          }
        }
        chunks.pass();
        chunks.ask();
      }
    }
  }

  template <typename Planes>
  static __device__ void multiply_chunk(const unsigned char* chunk,
                                        const Part& part, const LaneOfStage& x,
                                        Planes planes, typename S::Sums& acc) {
    typename S::Tile tiles[S::kChunk];
#pragma unroll
    for (int i = 0; i < S::kChunk; ++i) {
      tiles[i].template load<FromShared>(chunk + i * S::Tile::kBytes,
                                         part.lane);
    }
#pragma unroll
    for (int i = 0; i < S::kChunk; ++i) {
      multiply_tile<S>(tiles[i], x.at<S>(i), planes, acc);
    }
  }
};

}  // namespace llamlx::cuda
