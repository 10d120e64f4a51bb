#pragma once

#include "cuda/matmul/many_rows.h"
#include "cuda/matmul/products_out.h"
#include "cuda/matmul/weight_tile.h"

// What many_rows and experts_many share: the work of a block.
namespace llamlx::cuda {

// A warp multiplies two blocks of 16 rows of the weight with 64 rows of x.
inline constexpr int kBlocksAWarp = 2;
inline constexpr int kTokensAWarp = 64;
inline constexpr int kTokenColumns = kTokensAWarp / 8;  // of 8 rows of x
inline constexpr int kRowWarps = kManyRowsBlock / kTileRows / kBlocksAWarp;
inline constexpr int kManyRowsStageBytes = kManyRowsTokens * kTileCols * 2;

/// Which rows of x are a block's: those that follow each other, from the first
/// on. What is written is in the order of tokens.
struct RowsInOrder {
  static constexpr bool kMayBeFew = false;
  int first;
  int end;

  __device__ bool is_there(int token) const { return token < end; }
  __device__ int row(int token) const { return token; }
};

/// A tile's numbers as they are multiplied: of codes made anew.
template <typename Tile>
struct TileNumbers {
  std::uint32_t words[4][4];

  __device__ void fragment(int s, std::uint32_t (&a)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = words[s][i];
  }
};
template <typename T>
__device__ DenseTile<T> numbers_of(const DenseTile<T>& tile) {
  return tile;
}
template <typename Tile>
__device__ TileNumbers<Tile> numbers_of(const Tile& tile) {
  TileNumbers<Tile> numbers;
  tile.make_numbers(numbers.words);
  return numbers;
}

/// Where 16 bytes of a row of x lie in a stage: two rows' halves change places,
/// so that lanes that read a half of two rows hit all banks.
__device__ inline int chunk_byte(int token, int chunk) {
  return token * kTileCols * 2 + (chunk ^ (token % 2 * 4)) * 16;
}

/// Asks for a stage of x: 64 columns of this block's rows.
template <typename Rows>
__device__ void load_stage(const ManyRowsArgs& args, const Rows& rows, int step,
                           unsigned char* stage) {
  const int tile = step / args.planes;
  const int plane = step % args.planes;
  constexpr int kChunks = kTileCols * 2 / 16;
#pragma unroll
  for (int i = 0; i < kManyRowsTokens * kChunks / kManyRowsThreads; ++i) {
    const int at = i * kManyRowsThreads + static_cast<int>(threadIdx.x);
    const int token = at / kChunks;
    const int chunk = at % kChunks;
    const bool is_there = rows.is_there(rows.first + token);
    const auto row = static_cast<long long>(plane) * args.rows +
                     (is_there ? rows.row(rows.first + token) : 0);
    const auto* from =
        args.x + (row * args.tiles + tile) * kTileCols + chunk * 8;
    copy_async(stage + chunk_byte(token, chunk), from, is_there);
  }
}

using TokenSums = float[kBlocksAWarp][kTokenColumns][4];

template <typename Operand, typename Numbers, typename Rows>
__device__ void multiply_stage(const Numbers (&w)[kBlocksAWarp],
                               const unsigned char* stage, const Rows& rows,
                               int warp_token, TokenSums& acc) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
#pragma unroll
  for (int run = 0; run < 2; ++run) {
    Words4 x[kTokenColumns];
#pragma unroll
    for (int n = 0; n < kTokenColumns; ++n) {
      const int token = warp_token + n * 8 + lane / 4;
      x[n] = *reinterpret_cast<const Words4*>(
          stage + chunk_byte(token, run * 4 + lane % 4));
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int block = 0; block < kBlocksAWarp; ++block) {
        std::uint32_t a[4];
        w[block].fragment(2 * run + i, a);
#pragma unroll
        for (int n = 0; n < kTokenColumns; ++n) {
          if constexpr (Rows::kMayBeFew) {
            if (!rows.is_there(rows.first + warp_token + n * 8)) break;
          }
          const std::uint32_t b[2] = {x[n].w[2 * i], x[n].w[2 * i + 1]};
          multiply_add(Operand{}, acc[block][n], a, b);
        }
      }
    }
  }
}

/// A block's part of y = x W^T: kManyRowsBlock rows of a weight of such tiles,
/// from block `weight_block` of so many on, times up to kManyRowsTokens of x.
template <typename Tile, typename Rows>
__device__ void many_rows(const ManyRowsArgs& args, const Rows& rows,
                          int weight_block, unsigned char* stages) {
  using Numbers = decltype(numbers_of(Tile{}));
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int first_block = weight_block * (kManyRowsBlock / kTileRows) +
                          warp % kRowWarps * kBlocksAWarp;
  const int warp_token = warp / kRowWarps * kTokensAWarp;
  const int steps = args.tiles * args.planes;
  const auto load = [&](Tile(&w)[kBlocksAWarp], int step) {
    if (step >= steps) return;
#pragma unroll
    for (int i = 0; i < kBlocksAWarp; ++i) {
      const int block = first_block + i;
      if (block >= args.row_blocks) continue;
      w[i].template load<FromGlobal>(
          args.weight + (static_cast<long long>(block) * args.tiles +
                         step / args.planes) *
                            Tile::kBytes,
          lane);
    }
  };
  wait_for_predecessor();
  let_successor_start();
#pragma unroll
  for (int i = 0; i < kManyRowsStages - 1; ++i) {
    if (i < steps) load_stage(args, rows, i, stages + i * kManyRowsStageBytes);
    commit_copies();
  }
  Numbers w[kBlocksAWarp] = {};
  Tile next[kBlocksAWarp] = {};
  load(next, 0);
  TokenSums acc = {};
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int i = 0; i < kBlocksAWarp; ++i) w[i] = numbers_of(next[i]);
    load(next, step + 1);
    wait_for_copies<kManyRowsStages - 2>();
    __syncthreads();
    const int ahead = step + kManyRowsStages - 1;
    if (ahead < steps) {
      load_stage(args, rows, ahead,
                 stages + ahead % kManyRowsStages * kManyRowsStageBytes);
    }
    commit_copies();
    multiply_stage<typename Tile::Operand>(
        w, stages + step % kManyRowsStages * kManyRowsStageBytes, rows,
        warp_token, acc);
  }
#pragma unroll
  for (int i = 0; i < kBlocksAWarp; ++i) {
    if (first_block + i >= args.row_blocks) continue;
#pragma unroll
    for (int n = 0; n < kTokenColumns; ++n) {
      const int token = rows.first + warp_token + n * 8 + lane % 4 * 2;
      write_pair(args, rows, first_block + i, token, acc[i][n][0],
                 acc[i][n][2]);
      write_pair(args, rows, first_block + i, token + 1, acc[i][n][1],
                 acc[i][n][3]);
    }
  }
}

}  // namespace llamlx::cuda
