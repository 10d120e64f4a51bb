#include "cuda/matmul/some_rows.h"
#include "cuda/matmul/few_rows_space.h"
#include "cuda/matmul/products_out.h"
#include "cuda/matmul/weight_stream.h"
#include "cuda/matmul/weight_tile.h"
#include "cuda/matmul/x_stages.h"

namespace llamlx::cuda {
namespace {

/// What a kernel is made for: weights of such tiles, 8 kColumns rows of x.
template <typename Tile_, int kColumns_>
struct Shape {
  using Tile = Tile_;
  static constexpr int kColumns = kColumns_;
  static constexpr int kRows = 8 * kColumns;  // of x
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
      : warp(static_cast<int>(threadIdx.x) / kWarpSize),
        lane(static_cast<int>(threadIdx.x) % kWarpSize),
        block(static_cast<int>(blockIdx.x) * kSomeRowsWarps + warp),
        first_tile(static_cast<int>(blockIdx.y) * args.slice *
                   OperandStage::kTiles),
        tiles(min(args.slice * OperandStage::kTiles,
                  args.products.tiles - first_tile)) {}
};

/// The block's shared memory.
template <typename S>
struct Space {
  unsigned char* ring;      // [kSomeRowsWarps][stages] chunks of the weight
  unsigned char* x;         // stages of x
  std::uint64_t* barriers;  // of the weight's chunks, then of x's
  int* is_last;
  OperandStage stage;       // of x

  static constexpr int kStageBytes = S::kChunk * S::Tile::kBytes;
  static constexpr int kWeightStages = kSomeRowsWarps * kSomeRowsStages;
  static constexpr int kXStages = some_rows_x_stages(S::kColumns);

  __device__ explicit Space(const SomeRowsArgs& args)
      : stage(some_rows_stage(S::Tile::layout(), S::kColumns,
                              args.products.planes)) {
    ring = shared_memory();
    x = ring + kWeightStages * kStageBytes;
    barriers = reinterpret_cast<std::uint64_t*>(x + kXStages * stage.bytes());
    is_last = reinterpret_cast<int*>(barriers + kWeightStages + kXStages);
  }
};

/// The chunks of a warp's rows, asked for in the order in which it reads them.
template <typename S>
class Chunks {
 public:
  __device__ Chunks(const SomeRowsArgs& args, const Space<S>& space,
                    const Part& part)
      : stream_(space.ring +
                    part.warp * kSomeRowsStages * Space<S>::kStageBytes,
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
  __device__ void pass() { stream_.pass(); }

 private:
  WeightStream stream_;
  int left_;
  const unsigned char* next_;
};

/// acc += the products of a tile. `x` and `sums` are the lane's; `planes` a
/// number, or a constant.
template <typename S, typename Planes>
__device__ void multiply_tile(const typename S::Tile& tile,
                              const std::uint16_t* x, const float* sums,
                              Planes planes, typename S::Sums& acc) {
  using Tile = typename S::Tile;
  constexpr int kRunsAGroup = Tile::kGroups == 2 ? 1 : 2;
  typename S::Sums products = {};
  auto& c = Tile::kGroups == 0 ? acc : products;
#pragma unroll
  for (int run = 0; run < 2; ++run) {
#pragma unroll
    for (int plane = 0; plane < planes; ++plane) {
      Words4 words[S::kColumns];
#pragma unroll
      for (int n = 0; n < S::kColumns; ++n) {
        words[n] = *reinterpret_cast<const Words4*>(
            x + (plane * S::kRows + n * 8) * OperandStage::kStride + 32 * run);
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
    if constexpr (Tile::kGroups > 0) {
      if ((run + 1) % kRunsAGroup != 0) continue;
      const int group = run / kRunsAGroup;
#pragma unroll
      for (int n = 0; n < S::kColumns; ++n) {
        const auto sum = *reinterpret_cast<const Words2*>(
            sums + group * S::kRows + n * 8);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          acc[n][i] = fmaf(tile.scale(group, i / 2), c[n][i], acc[n][i]);
          acc[n][i] = fmaf(tile.bias(group, i / 2),
                           __uint_as_float(sum.w[i % 2]), acc[n][i]);
          c[n][i] = 0;
        }
      }
    }
  }
}

template <typename S, typename Planes>
__device__ void multiply_slice(const SomeRowsArgs& args, const Part& part,
                               int sums_byte, Chunks<S>& chunks,
                               XStages& columns, Planes planes,
                               typename S::Sums& acc) {
  using Tile = typename S::Tile;
  const int x_place = part.lane / 4 * OperandStage::kStride + part.lane % 4 * 8;
  const int sums_place = part.lane % 4 * 2;
  const bool is_there = part.block < args.products.row_blocks;
  for (int first = 0; first < part.tiles; first += OperandStage::kTiles) {
    const auto* stage = columns.wait();
    columns.ask();
    const auto* x = reinterpret_cast<const std::uint16_t*>(stage) + x_place;
    const auto* sums =
        reinterpret_cast<const float*>(stage + sums_byte) + sums_place;
    const int end =
        is_there ? min(OperandStage::kTiles, part.tiles - first) : 0;
    for (int from = 0; from < end; from += S::kChunk) {
      const auto* chunk = chunks.wait();
      const int count = min(S::kChunk, end - from);
#pragma unroll 1
      for (int i = 0; i < count; ++i) {
        Tile tile;
        tile.template load<FromShared>(chunk + i * Tile::kBytes, part.lane);
        multiply_tile<S>(tile, x, sums, planes, acc);
        x += kTileCols;
        sums += Tile::kGroups * S::kRows;
      }
      chunks.pass();
      chunks.ask();
    }
  }
}

/// Adds up what all slices have, in the block that comes last; whether that is
/// this one.
template <typename S>
__device__ bool add_slices(const SomeRowsArgs& args, const Space<S>& space,
                           typename S::Sums& acc) {
  const int slices = static_cast<int>(gridDim.y);
  if (slices == 1) return true;
  const auto part_of = [&](int slice, int n) {
    const auto group = static_cast<long long>(slice) * gridDim.x + blockIdx.x;
    return reinterpret_cast<Floats4*>(args.parts) +
           (group * S::kColumns + n) * kSomeRowsThreads + threadIdx.x;
  };
#pragma unroll
  for (int n = 0; n < S::kColumns; ++n) {
    *part_of(static_cast<int>(blockIdx.y), n) = {
        {acc[n][0], acc[n][1], acc[n][2], acc[n][3]}};
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    auto* counter = args.counters + blockIdx.x;
    *space.is_last = count_arrival(counter) + 1 == gridDim.y ? 1 : 0;
    if (*space.is_last != 0) *counter = 0;
  }
  __syncthreads();
  if (*space.is_last == 0) return false;
#pragma unroll
  for (int n = 0; n < S::kColumns; ++n) {
    Floats4 sum{};
#pragma unroll 4
    for (int slice = 0; slice < slices; ++slice) {
      const auto its = load_fresh(part_of(slice, n));
#pragma unroll
      for (int j = 0; j < 4; ++j) sum.f[j] += its.f[j];
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) acc[n][j] = sum.f[j];
  }
  return true;
}

template <typename Tile, int kColumns>
__device__ void some_rows(const SomeRowsArgs& args) {
  using S = Shape<Tile, kColumns>;
  const Part part(args);
  const Space<S> space(args);
  Chunks<S> chunks(args, space, part);
  XStages columns(space.x, Space<S>::kXStages, space.stage.bytes(),
                  space.barriers + Space<S>::kWeightStages,
                  reinterpret_cast<const unsigned char*>(args.products.x) +
                      static_cast<long long>(blockIdx.y) * args.slice *
                          space.stage.bytes(),
                  operand_stages(part.tiles));
  __syncthreads();
  wait_for_predecessor();
  let_successor_start();
  for (int i = 0; i < Space<S>::kXStages - 1; ++i) columns.ask();
  const int sums_byte = space.stage.sums_byte();
  typename S::Sums acc = {};
  if (args.products.planes == 1) {
    multiply_slice<S>(args, part, sums_byte, chunks, columns, PlaneCount<1>{},
                      acc);
  } else {
    multiply_slice<S>(args, part, sums_byte, chunks, columns,
                      args.products.planes, acc);
  }
  if (!add_slices<S>(args, space, acc)) return;
  if (part.block >= args.products.row_blocks) return;
#pragma unroll
  for (int n = 0; n < S::kColumns; ++n) {
    const auto& c = acc[n];
    const int token = n * 8 + part.lane % 4 * 2;
    write_pair(args.products, part.block, token, c[0], c[2]);
    write_pair(args.products, part.block, token + 1, c[1], c[3]);
  }
}

}  // namespace

#define LLAMLX_SOME_ROWS_KERNEL(name, columns, ...)                      \
  LLAMLX_KERNEL(some_rows_##name##_n##columns, SomeRowsArgs,             \
                kSomeRowsThreads, some_rows_together(columns)) {         \
    some_rows<__VA_ARGS__, columns>(args);                               \
  }
#define LLAMLX_SOME_ROWS_KERNELS(name, ...)           \
  LLAMLX_SOME_ROWS_KERNEL(name, 1, __VA_ARGS__)       \
  LLAMLX_SOME_ROWS_KERNEL(name, 2, __VA_ARGS__)       \
  LLAMLX_SOME_ROWS_KERNEL(name, 4, __VA_ARGS__)       \
  LLAMLX_SOME_ROWS_KERNEL(name, 8, __VA_ARGS__)

LLAMLX_SOME_ROWS_KERNELS(f16, DenseTile<F16>)
LLAMLX_SOME_ROWS_KERNELS(bf16, DenseTile<Bf16>)

#define LLAMLX_AFFINE_KERNELS(bits)                                          \
  LLAMLX_SOME_ROWS_KERNELS(affine##bits##_g32_f32, AffineTile<bits, 32, F32>) \
  LLAMLX_SOME_ROWS_KERNELS(affine##bits##_g32_f16, AffineTile<bits, 32, F16>) \
  LLAMLX_SOME_ROWS_KERNELS(affine##bits##_g32_bf16,                          \
                           AffineTile<bits, 32, Bf16>)                       \
  LLAMLX_SOME_ROWS_KERNELS(affine##bits##_g64_f32, AffineTile<bits, 64, F32>) \
  LLAMLX_SOME_ROWS_KERNELS(affine##bits##_g64_f16, AffineTile<bits, 64, F16>) \
  LLAMLX_SOME_ROWS_KERNELS(affine##bits##_g64_bf16, AffineTile<bits, 64, Bf16>)

LLAMLX_AFFINE_KERNELS(2)
LLAMLX_AFFINE_KERNELS(3)
LLAMLX_AFFINE_KERNELS(4)
LLAMLX_AFFINE_KERNELS(5)
LLAMLX_AFFINE_KERNELS(6)
LLAMLX_AFFINE_KERNELS(8)

}  // namespace llamlx::cuda
