#include "cuda/matmul/many_rows.h"
#include "cuda/matmul/products_out.h"
#include "cuda/matmul/weight_tile.h"

namespace llamlx::cuda {
namespace {

// A warp multiplies two blocks of 16 rows of the weight with 64 rows of x.
constexpr int kBlocksAWarp = 2;
constexpr int kTokensAWarp = 64;
constexpr int kColumns = kTokensAWarp / 8;  // operands of 8 rows of x
constexpr int kRowWarps = kManyRowsBlock / kTileRows / kBlocksAWarp;
constexpr int kStageBytes = kManyRowsTokens * kTileCols * 2;

/// Where 16 bytes of a row of x lie in a stage: two rows' halves change places,
/// so that lanes that read a half of two rows hit all banks.
__device__ int chunk_byte(int token, int chunk) {
  return token * kTileCols * 2 + (chunk ^ (token % 2 * 4)) * 16;
}

struct Position {
  int first_block;  // of the weight's rows, of this warp
  int first_token;  // of this block of threads
  int warp_token;   // within those
};

__device__ Position position() {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  return {static_cast<int>(blockIdx.y) * (kManyRowsBlock / kTileRows) +
              warp % kRowWarps * kBlocksAWarp,
          static_cast<int>(blockIdx.x) * kManyRowsTokens,
          warp / kRowWarps * kTokensAWarp};
}

/// Asks for a stage of x: 64 columns of this block's rows.
__device__ void load_stage(const ManyRowsArgs& args, int first_token, int step,
                           unsigned char* stage) {
  const int tile = step / args.planes;
  const int plane = step % args.planes;
  constexpr int kChunks = kTileCols * 2 / 16;
#pragma unroll
  for (int i = 0; i < kManyRowsTokens * kChunks / kManyRowsThreads; ++i) {
    const int at = i * kManyRowsThreads + static_cast<int>(threadIdx.x);
    const int token = at / kChunks;
    const int chunk = at % kChunks;
    const bool is_there = first_token + token < args.rows;
    const auto row = static_cast<long long>(plane) * args.rows +
                     (is_there ? first_token + token : 0);
    const auto* from =
        args.x + (row * args.tiles + tile) * kTileCols + chunk * 8;
    copy_async(stage + chunk_byte(token, chunk), from, is_there);
  }
}

template <typename T>
using Accumulators = float[kBlocksAWarp][kColumns][4];

template <typename T>
__device__ void multiply_stage(const DenseTile<T> (&w)[kBlocksAWarp],
                               const unsigned char* stage, int warp_token,
                               Accumulators<T>& acc) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
#pragma unroll
  for (int run = 0; run < 2; ++run) {
    Words4 x[kColumns];
#pragma unroll
    for (int n = 0; n < kColumns; ++n) {
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
        for (int n = 0; n < kColumns; ++n) {
          const std::uint32_t b[2] = {x[n].w[2 * i], x[n].w[2 * i + 1]};
          multiply_add(T{}, acc[block][n], a, b);
        }
      }
    }
  }
}

template <typename T>
__device__ void many_rows(const ManyRowsArgs& args) {
  const auto [first, first_token, warp_token] = position();
  const int first_block = first;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int steps = args.tiles * args.planes;
  const auto load = [&](DenseTile<T>(&w)[kBlocksAWarp], int step) {
    if (step >= steps) return;
#pragma unroll
    for (int i = 0; i < kBlocksAWarp; ++i) {
      const int block = first_block + i;
      if (block >= args.row_blocks) continue;
      w[i].template load<FromGlobal>(
          args.weight + (static_cast<long long>(block) * args.tiles +
                         step / args.planes) *
                            DenseTile<T>::kBytes,
          lane);
    }
  };
  wait_for_predecessor();
  let_successor_start();
  auto* stages = shared_memory();
#pragma unroll
  for (int i = 0; i < kManyRowsStages - 1; ++i) {
    if (i < steps) load_stage(args, first_token, i, stages + i * kStageBytes);
    commit_copies();
  }
  DenseTile<T> w[kBlocksAWarp] = {};
  DenseTile<T> next[kBlocksAWarp] = {};
  load(next, 0);
  Accumulators<T> acc = {};
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int i = 0; i < kBlocksAWarp; ++i) w[i] = next[i];
    load(next, step + 1);
    wait_for_copies<kManyRowsStages - 2>();
    __syncthreads();
    const int ahead = step + kManyRowsStages - 1;
    if (ahead < steps) {
      load_stage(args, first_token, ahead,
                 stages + ahead % kManyRowsStages * kStageBytes);
    }
    commit_copies();
    multiply_stage<T>(w, stages + step % kManyRowsStages * kStageBytes,
                      warp_token, acc);
  }
#pragma unroll
  for (int i = 0; i < kBlocksAWarp; ++i) {
    if (first_block + i >= args.row_blocks) continue;
#pragma unroll
    for (int n = 0; n < kColumns; ++n) {
      const int token = first_token + warp_token + n * 8 + lane % 4 * 2;
      write_pair(args, first_block + i, token, acc[i][n][0], acc[i][n][2]);
      write_pair(args, first_block + i, token + 1, acc[i][n][1], acc[i][n][3]);
    }
  }
}

}  // namespace

LLAMLX_KERNEL(many_rows_f16, ManyRowsArgs, kManyRowsThreads, 1) {
  many_rows<F16>(args);
}
LLAMLX_KERNEL(many_rows_bf16, ManyRowsArgs, kManyRowsThreads, 1) {
  many_rows<Bf16>(args);
}

}  // namespace llamlx::cuda
