#pragma once

#include "cuda/matmul/few_rows.h"
#include "cuda/matmul/few_rows_input.h"
#include "cuda/matmul/few_rows_output.h"
#include "cuda/matmul/weight_stream.h"
#include "cuda/matmul/weight_tile.h"

namespace llamlx::cuda {

/// The chunks of a weight that are a warp's, in the order in which it reads
/// them: of each of its group's rows of tiles every share-th.
template <typename Tile>
class ChunkCursor {
 public:
  __device__ ChunkCursor(const FewRowsArgs& args, const WarpGroup& group,
                         int chunk)
      : args_(args),
        chunk_(chunk),
        step_(group.share * chunk),
        first_(group.member * chunk),
        tile_(first_),
        block_(first_ < args.tiles ? group.first : args.row_blocks),
        block_step_(group.step) {}

  /// Asks `stream` for the next, if there is one.
  __device__ void ask(WeightStream& stream) {
    if (block_ >= args_.row_blocks) return stream.ask(nullptr, 0);
    const auto tile = static_cast<long long>(block_) * args_.tiles + tile_;
    stream.ask(args_.weight + tile * Tile::kBytes,
               min(chunk_, args_.tiles - tile_) * Tile::kBytes);
    tile_ += step_;
    if (tile_ < args_.tiles) return;
    tile_ = first_;
    block_ += block_step_;
  }

 private:
  const FewRowsArgs& args_;
  int chunk_;
  int step_;
  int first_;
  int tile_;
  int block_;
  int block_step_;
};

/// What a lane reads of x for a tile: its columns, of one row for each column
/// of the operand, and their sums. Columns that no row is for are computed with
/// the last one's, and not looked at.
template <typename Tile>
struct LaneOfX {
  const typename FewRowsSpace<Tile>::X* x;
  const float* sums;
  int plane_step;

  __device__ LaneOfX(const FewRowsArgs& args, const FewRowsSpace<Tile>& space,
                     int lane)
      : x(space.x + min(lane / 4, args.rows - 1) * space.stride + lane % 4 * 8),
        sums(space.sums + lane % 4 * 2),
        plane_step(args.rows * space.stride) {}

  __device__ void move_to(int tile) {
    x += tile * kTileCols;
    sums += tile * Tile::kGroups * 8;
  }
};

/// acc += the products of a tile. `planes`: as in FewRowsArgs, or a constant.
template <typename Tile, typename Planes>
__device__ void multiply_tile(const Tile& tile, const LaneOfX<Tile>& from,
                              Planes planes, float (&acc)[4]) {
  constexpr int kRunsAGroup = Tile::kGroups == 2 ? 1 : 2;
  float c[4] = {0, 0, 0, 0};
#pragma unroll
  for (int run = 0; run < 2; ++run) {
#pragma unroll
    for (int plane = 0; plane < planes; ++plane) {
      const auto words = *reinterpret_cast<const Words4*>(
          from.x + plane * from.plane_step + 32 * run);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        std::uint32_t a[4];
        tile.fragment(2 * run + i, a);
        const std::uint32_t b[2] = {words.w[2 * i], words.w[2 * i + 1]};
        multiply_add(typename Tile::Operand{}, c, a, b);
      }
    }
    if constexpr (Tile::kGroups > 0) {
      if ((run + 1) % kRunsAGroup != 0) continue;
      const int group = run / kRunsAGroup;
      const auto sums = *reinterpret_cast<const Words2*>(from.sums + group * 8);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        acc[i] = fmaf(tile.scale(group, i / 2), c[i], acc[i]);
        acc[i] = fmaf(tile.bias(group, i / 2), __uint_as_float(sums.w[i % 2]),
                      acc[i]);
        c[i] = 0;
      }
    }
  }
  if constexpr (Tile::kGroups == 0) {
#pragma unroll
    for (int i = 0; i < 4; ++i) acc[i] += c[i];
  }
}

/// The same without a matrix unit: a lane adds up its own columns, of its rows
/// of the weight and every row of x.
__device__ inline void multiply_wide_tile(
    const DenseTile32& tile, const FewRowsSpace<DenseTile32>& space, int rows,
    int index, int lane, float (&acc)[16]) {
#pragma unroll
  for (int row = 0; row < 8; ++row) {
    if (row >= rows) break;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const auto x = *reinterpret_cast<const Floats4*>(
          space.x + row * space.stride + index * kTileCols + i / 2 * 32 +
          lane % 4 * 8 + i % 2 * 4);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const auto& w = tile.words[half * 4 + i];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          acc[row * 2 + half] =
              fmaf(__uint_as_float(w.w[j]), x.f[j], acc[row * 2 + half]);
        }
      }
    }
  }
}

template <typename Tile, typename Planes>
__device__ void multiply_blocks(const FewRowsArgs& args, const WarpGroup& group,
                                const FewRowsSpace<Tile>& space,
                                WeightStream& stream, ChunkCursor<Tile>& ahead,
                                Planes planes) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const LaneOfX<Tile> start(args, space, lane);
  auto* partials = space.partial + group.number * group.share * kFewRowsPartial;
  int parity = 0;
  for (int block = group.first; block < args.row_blocks; block += group.step) {
    float acc[FewRowsSpace<Tile>::kIsWide ? 16 : 4] = {};
    const float addend =
        BlockOutput(args, group, block, group.thread() / group.share).addend();
    for (int first = group.member * space.chunk; first < args.tiles;
         first += group.share * space.chunk) {
      const auto* chunk = stream.wait();
      const int count = min(space.chunk, args.tiles - first);
      auto from = start;
      from.move_to(first);
#pragma unroll 1
      for (int i = 0; i < count; ++i) {
        Tile tile;
        tile.template load<FromShared>(chunk + i * Tile::kBytes, lane);
        if constexpr (FewRowsSpace<Tile>::kIsWide) {
          multiply_wide_tile(tile, space, args.rows, first + i, lane, acc);
        } else {
          multiply_tile(tile, from, planes, acc);
        }
        from.move_to(1);
      }
      stream.pass();
      ahead.ask(stream);
    }
    auto* partial = partials + parity * kFewRowsWarps * kFewRowsPartial;
    write_partial(acc, lane, partial + group.member * kFewRowsPartial);
    group.meet();
    write_block(args, group, partial, space.scales, block, addend);
    parity ^= 1;
  }
}

template <typename Tile, typename Planes>
__device__ void few_rows(const FewRowsArgs& args, Planes planes) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const FewRowsSpace<Tile> space(args);
  const int stage_bytes = space.chunk * Tile::kBytes;
  WeightStream stream(space.ring + warp * args.stages * stage_bytes,
                      args.stages, stage_bytes,
                      space.barriers + warp * args.stages, lane);
  const WarpGroup group(args);
  ChunkCursor<Tile> ahead(args, group, space.chunk);
  for (int i = 0; i < args.stages; ++i) ahead.ask(stream);
  if (args.norm != nullptr) touch(args.norm, args.cols);

  wait_for_predecessor();
  let_successor_start();
  RowMaker<Tile, Planes>(args, space, planes).run();
  __syncthreads();
  multiply_blocks(args, group, space, stream, ahead, planes);
}

template <typename Tile>
__device__ void few_rows(const FewRowsArgs& args) {
  if (args.planes == 1) {
    few_rows<Tile>(args, PlaneCount<1>{});
  } else {
    few_rows<Tile>(args, args.planes);
  }
}

}  // namespace llamlx::cuda
