#include "cuda/matmul/many_rows_hopper.h"
#include "cuda/matmul/products_out.h"
#include "cuda/matmul/warpgroup.h"
#include "cuda/matmul/weight_tile.h"

namespace llamlx::cuda {
namespace {

#ifdef LLAMLX_HAS_WARPGROUPS

/// 16 bytes of a row of x in a stage: where warpgroups look for them.
__device__ int hopper_chunk_byte(int token, int chunk) {
  return token * kTileCols * 2 + (chunk ^ token % 8) * 16;
}

/// Asks for a stage of x: 64 columns of this block's rows.
template <int kTokens>
__device__ void load_hopper_stage(const ManyRowsArgs& args, int first_token,
                                  int step, unsigned char* stage) {
  const int tile = step / args.planes;
  const int plane = step % args.planes;
  constexpr int kChunks = kTileCols * 2 / 16;
#pragma unroll
  for (int i = 0; i < kTokens * kChunks / kHopperThreads; ++i) {
    const int at = i * kHopperThreads + static_cast<int>(threadIdx.x);
    const int token = at / kChunks;
    const int chunk = at % kChunks;
    const bool is_there = first_token + token < args.rows;
    const auto row = static_cast<long long>(plane) * args.rows +
                     (is_there ? first_token + token : 0);
    const auto* from =
        args.x + (row * args.tiles + tile) * kTileCols + chunk * 8;
    copy_async(stage + hopper_chunk_byte(token, chunk), from, is_there);
  }
}

/// A warp's 16 rows of a weight, tile after tile along them.
template <typename Tile>
class WeightRows {
 public:
  __device__ WeightRows(const ManyRowsArgs& args, int block)
      : planes_(args.planes),
        steps_(args.tiles * args.planes),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize),
        weight_(args.weight +
                static_cast<long long>(block) * args.tiles * Tile::kBytes) {}

  __device__ void load(Tile& tile, int step) const {
    if (step >= steps_) return;
    tile.template load<FromGlobal>(
        weight_ + static_cast<long long>(step / planes_) * Tile::kBytes, lane_);
  }

 private:
  int planes_;
  int steps_;
  int lane_;
  const unsigned char* weight_;
};

/// What multiplies a stage of x. begin() starts with the products of `now`;
/// finish() follows when the stage after is asked for, and leaves one group of
/// products that may not be done.
///
/// Of numbers as they are, which stay in registers.
template <typename Tile, int kTokens>
struct HopperProducts {
  float acc[kTokens / 8][4] = {};

  __device__ explicit HopperProducts(unsigned char*) {}
  __device__ void prepare(const Tile&, int) {}

  __device__ void multiply(const Tile& now, int, const unsigned char* stage) {
    auto rows = describe_rows(stage);
    begin_products();
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      std::uint32_t a[4];
      now.fragment(s, a);
      multiply_warpgroup(typename Tile::Operand{}, acc, a, rows);
      rows = next_step(rows);
    }
    commit_products();
    wait_for_products<1>();
  }
};

/// Of codes, whose numbers are made in shared memory while the products before
/// are computed.
template <int kBits, int kGroup, typename T, int kTokens>
struct HopperProducts<AffineTile<kBits, kGroup, T>, kTokens> {
  using Tile = AffineTile<kBits, kGroup, T>;
  static constexpr int kBytes = kHopperBlock * kTileCols * 2;

  float acc[kTokens / 8][4] = {};
  unsigned char* numbers;  // [2] of the block's rows

  __device__ explicit HopperProducts(unsigned char* memory) : numbers(memory) {}

  /// Makes the numbers of step `step`: before a barrier.
  __device__ void prepare(const Tile& tile, int step) {
    const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
    const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
    const int g = lane / 4;
    auto* row = numbers + step % 2 * kBytes +
                (warp * kTileRows + g) * kTileCols * 2 + lane % 4 * 4;
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      std::uint32_t a[4];
      tile.numbers(s, a);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        auto* to = row + i % 2 * 8 * kTileCols * 2 + ((2 * s + i / 2) ^ g) * 16;
        *reinterpret_cast<std::uint32_t*>(to) = a[i];
      }
    }
  }

  __device__ void multiply(const Tile&, int step, const unsigned char* stage) {
    const int group = static_cast<int>(threadIdx.x) / 128;
    auto rows = describe_rows(stage);
    auto weight =
        describe_rows(numbers + step % 2 * kBytes + group * 64 * kTileCols * 2);
    begin_products();
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      multiply_warpgroup(F16{}, acc, weight, rows);
      rows = next_step(rows);
      weight = next_step(weight);
    }
    commit_products();
    wait_for_products<1>();
  }
};

template <typename Tile, int kTokens>
__device__ void many_rows_hopper(const ManyRowsArgs& args) {
  constexpr int kStageBytes = kTokens * kTileCols * 2;
  constexpr int kAhead = kHopperStages - 2;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int first_token = static_cast<int>(blockIdx.x) * kTokens;
  const int block =
      static_cast<int>(blockIdx.y) * (kHopperBlock / kTileRows) + warp;
  const bool is_there = block < args.row_blocks;
  const int steps = args.tiles * args.planes;
  const WeightRows<Tile> weight(args, is_there ? block : 0);
  // Stages begin at multiples of 1024 bytes.
  auto* stages =
      shared_memory() + (1024 - shared_address(shared_memory()) % 1024) % 1024;
  HopperProducts<Tile, kTokens> products(stages + kHopperStages * kStageBytes);
  const auto load = [&](int step) {
    if (step < steps) {
      load_hopper_stage<kTokens>(args, first_token, step,
                                 stages + step % kHopperStages * kStageBytes);
    }
    commit_copies();
  };

  wait_for_predecessor();
  let_successor_start();
  for (int i = 0; i < kAhead; ++i) load(i);
  // Three, as the matrix unit still reads the one before the last.
  Tile tiles[3];
  weight.load(tiles[0], 0);
  weight.load(tiles[1], 1);
  products.prepare(tiles[0], 0);
  const auto take_step = [&](Tile& before, const Tile& now, const Tile& next,
                             int step) {
    if (step >= steps) return;
    wait_for_copies<kAhead - 1>();
    show_to_matrix_unit();
    __syncthreads();
    load(step + kAhead);
    products.multiply(now, step, stages + step % kHopperStages * kStageBytes);
    products.prepare(next, step + 1);
    weight.load(before, step + 2);
  };
  // Three steps a turn, so that the tiles' registers have names.
  for (int step = 0; step < steps; step += 3) {
    take_step(tiles[2], tiles[0], tiles[1], step);
    take_step(tiles[0], tiles[1], tiles[2], step + 1);
    take_step(tiles[1], tiles[2], tiles[0], step + 2);
  }
  wait_for_products<0>();
  if (!is_there) return;
#pragma unroll
  for (int n = 0; n < kTokens / 8; ++n) {
    const auto& sums = products.acc[n];
    const int token = first_token + n * 8 + lane % 4 * 2;
    write_pair(args, block, token, sums[0], sums[2]);
    write_pair(args, block, token + 1, sums[1], sums[3]);
  }
}

#else

template <typename Tile, int kTokens>
__device__ void many_rows_hopper(const ManyRowsArgs&) {}

#endif  // LLAMLX_HAS_WARPGROUPS

}  // namespace

#define LLAMLX_HOPPER_KERNELS(name, ...)                                      \
  LLAMLX_KERNEL(many_rows_hopper_##name##_n128, ManyRowsArgs, kHopperThreads, \
                1) {                                                          \
    many_rows_hopper<__VA_ARGS__, 128>(args);                                 \
  }                                                                           \
  LLAMLX_KERNEL(many_rows_hopper_##name##_n256, ManyRowsArgs, kHopperThreads, \
                1) {                                                          \
    many_rows_hopper<__VA_ARGS__, 256>(args);                                 \
  }

LLAMLX_HOPPER_KERNELS(f16, DenseTile<F16>)
LLAMLX_HOPPER_KERNELS(bf16, DenseTile<Bf16>)
LLAMLX_HOPPER_KERNELS(affine4_g32_f16, AffineTile<4, 32, F16>)
LLAMLX_HOPPER_KERNELS(affine4_g32_bf16, AffineTile<4, 32, Bf16>)
LLAMLX_HOPPER_KERNELS(affine4_g64_f16, AffineTile<4, 64, F16>)
LLAMLX_HOPPER_KERNELS(affine4_g64_bf16, AffineTile<4, 64, Bf16>)
LLAMLX_HOPPER_KERNELS(affine8_g32_f16, AffineTile<8, 32, F16>)
LLAMLX_HOPPER_KERNELS(affine8_g32_bf16, AffineTile<8, 32, Bf16>)
LLAMLX_HOPPER_KERNELS(affine8_g64_f16, AffineTile<8, 64, F16>)
LLAMLX_HOPPER_KERNELS(affine8_g64_bf16, AffineTile<8, 64, Bf16>)

}  // namespace llamlx::cuda
