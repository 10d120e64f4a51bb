#include "cuda/matmul/few_rows_space.h"
#include "cuda/matmul/some_rows.h"
#include "cuda/matmul/stage_quad.h"
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
  float* scales;            // [S::kRows]: of products
  int* is_last;
  OperandStage stage;  // of x

  static constexpr int kStageBytes = S::kChunk * S::Tile::kBytes;
  static constexpr int kWeightStages = kSomeRowsWarps * kSomeRowsStages;
  static constexpr int kXStages = some_rows_x_stages(S::kColumns);

  __device__ explicit Space(const SomeRowsArgs& args)
      : stage(some_rows_stage(S::Tile::layout(), S::kColumns,
                              args.products.planes)) {
    ring = shared_memory();
    x = ring + kWeightStages * kStageBytes;
    barriers = reinterpret_cast<std::uint64_t*>(x + kXStages * stage.bytes());
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
  __device__ void pass() { stream_.pass(); }

 private:
  WeightStream stream_;
  int left_;
  const unsigned char* next_;
};

/// What a lane reads of a stage of x.
struct LaneOfX {
  const std::uint16_t* numbers;
  const float* facts;

  __device__ LaneOfX(const unsigned char* bytes, const OperandStage& stage,
                     int lane)
      : numbers(reinterpret_cast<const std::uint16_t*>(bytes) +
                lane / 4 * OperandStage::kStride + lane % 4 * 8),
        facts(reinterpret_cast<const float*>(bytes + stage.facts_byte()) +
              lane % 4 * 4) {}

  /// To the next tile.
  template <typename S>
  __device__ void move() {
    numbers += kTileCols;
    facts += S::kGroups * 2 * S::kRows;
  }
};

/// acc += the products of a tile. `planes`: a number, or a constant.
template <typename S, typename Planes>
__device__ void multiply_tile(const typename S::Tile& tile, const LaneOfX& x,
                              Planes planes, typename S::Sums& acc) {
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

template <typename S, typename Planes>
__device__ void multiply_slice(const SomeRowsArgs& args, const Part& part,
                               const OperandStage& stage, Chunks<S>& chunks,
                               XStages& stages, Planes planes,
                               typename S::Sums& acc) {
  using Tile = typename S::Tile;
  const bool is_there = part.block < args.products.row_blocks;
  for (int first = 0; first < part.tiles; first += OperandStage::kTiles) {
    LaneOfX x(stages.wait(), stage, part.lane);
    stages.ask();
    const int end =
        is_there ? min(OperandStage::kTiles, part.tiles - first) : 0;
    for (int from = 0; from < end; from += S::kChunk) {
      const auto* chunk = chunks.wait();
      const int count = min(S::kChunk, end - from);
#pragma unroll 1
      for (int i = 0; i < count; ++i) {
        Tile tile;
        tile.template load<FromShared>(chunk + i * Tile::kBytes, part.lane);
        multiply_tile<S>(tile, x, planes, acc);
        x.move<S>();
      }
      chunks.pass();
      chunks.ask();
    }
  }
}

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
    *part_of(static_cast<int>(blockIdx.y),
             n) = {{acc[n][0], acc[n][1], acc[n][2], acc[n][3]}};
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

/// Finishes a block's products, four columns of a row at a time. The code is
/// run once by each warp, so it is kept short: what is not in the cache of
/// instructions takes longer to come than to run.
template <typename S>
class ProductWriter {
 public:
  static constexpr int kRowsOfWeight = kSomeRowsWarps * kTileRows;
  /// From row to row of the products in shared memory: padded, so that the
  /// lanes of a warp write to all banks.
  static constexpr int kStride = kRowsOfWeight + 4;
  static_assert(kStride * 4 <=
                some_rows_x_stages(S::kColumns) * OperandStage::kStride * 2);

  __device__ ProductWriter(const SomeRowsArgs& args, const Space<S>& space)
      : args_(args.products),
        next_(args.next),
        products_(reinterpret_cast<float*>(space.x)),
        scales_(space.scales),
        is_gated_(args_.output == Output::swiglu),
        cols_(is_gated_ ? kRowsOfWeight / 2 : kRowsOfWeight),
        out_cols_(is_gated_ ? args_.out_rows / 2 : args_.out_rows) {}

  __device__ void run(const Part& part, const typename S::Sums& acc) const {
    __syncthreads();  // all are done with x
#pragma unroll
    for (int n = 0; n < S::kColumns; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        products_[(n * 8 + part.lane % 4 * 2 + i % 2) * kStride +
                  part.warp * kTileRows + part.lane / 4 + i / 2 * 8] =
            acc[n][i];
      }
    }
    __syncthreads();
    const int quads = cols_ / 4;
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < S::kRows * quads;
         i += kSomeRowsThreads) {
      write(i / quads, i % quads * 4);
    }
  }

 private:
  /// By a whole warp, which has 128 columns of a row or 64 of two.
  __device__ void write(int row, int at) const {
    const int col = static_cast<int>(blockIdx.x) * cols_ + at;
    Floats4 y{};
    if (row < args_.rows && col < out_cols_) {
      y = is_gated_ ? gated(row, at, col) : plain(row, at, col);
      if (args_.out != nullptr) store(row, col, y);
    }
    if (next_.stages.bytes != nullptr) make_operands(row, at, col, y);
  }

  __device__ Floats4 load(int row, int at) const {
    return *reinterpret_cast<const Floats4*>(products_ + row * kStride + at);
  }
  __device__ float value(int row, int n, float product) const {
    const bool is_biased = args_.bias != nullptr && n < args_.out_rows;
    return product * scales_[row] + (is_biased ? args_.bias[n] : 0);
  }

  __device__ Floats4 plain(int row, int at, int col) const {
    const auto products = load(row, at);
    const auto before =
        args_.output == Output::add ? load_out(row, col) : Floats4{};
    Floats4 y{};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (col + j >= out_cols_) continue;
      y.f[j] = value(row, col + j, products.f[j]) + before.f[j];
    }
    return y;
  }

  /// Of the weight's rows 8 gates and the 8 they meet take turns.
  __device__ Floats4 gated(int row, int at, int col) const {
    const int place = at / 8 * kTileRows + at % 8;
    const int n = col / 8 * kTileRows + col % 8;
    const auto gates = load(row, place);
    const auto ups = load(row, place + 8);
    Floats4 y{};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (col + j >= out_cols_) continue;
      y.f[j] =
          silu(value(row, n + j, gates.f[j])) * value(row, n + j + 8, ups.f[j]);
    }
    return y;
  }

  __device__ float* out(int row, int col) const {
    return args_.out + static_cast<long long>(row) * args_.out_stride + col;
  }
  /// Whether four columns are one word of 16 bytes.
  __device__ bool is_word(int col) const {
    return args_.out_stride % 4 == 0 && col + 4 <= out_cols_;
  }
  __device__ Floats4 load_out(int row, int col) const {
    const float* from = out(row, col);
    if (is_word(col)) return load_fresh(reinterpret_cast<const Floats4*>(from));
    Floats4 y{};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (col + j < out_cols_) y.f[j] = load_fresh(from + j);
    }
    return y;
  }
  __device__ void store(int row, int col, const Floats4& y) const {
    float* to = out(row, col);
    if (is_word(col)) {
      *reinterpret_cast<Floats4*>(to) = y;
      return;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (col + j < out_cols_) to[j] = y.f[j];
    }
  }

  __device__ void make_operands(int row, int at, int col, Floats4 y) const {
    if (next_.squares != nullptr) {
      float squares = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j) squares += y.f[j] * y.f[j];
      for (int step = 1; step < cols_ / 4; step *= 2) {
        squares += __shfl_xor_sync(kAllLanes, squares, step);
      }
      if (at == 0) {
        next_.squares[static_cast<int>(blockIdx.x) * S::kRows + row] = squares;
      }
    }
    const auto weights = load_norm(next_.norm, col, out_cols_);
#pragma unroll
    for (int j = 0; j < 4; ++j) y.f[j] *= weights.f[j];
    write_quad<typename S::Tile::Operand>(next_.stages, row, col, true, y);
  }

  const ManyRowsArgs& args_;
  const NextOperands& next_;
  float* products_;  // [S::kRows, kStride]
  const float* scales_;
  bool is_gated_;
  int cols_;  // of the output, of a block
  int out_cols_;
};

template <typename Tile, int kColumns>
__device__ void some_rows(const SomeRowsArgs& args) {
  using S = Shape<Tile, kColumns>;
  const Part part(args);
  const Space<S> space(args);
  Chunks<S> chunks(args, space, part);
  XStages stages(
      space.x, Space<S>::kXStages, space.stage.bytes(),
      space.barriers + Space<S>::kWeightStages,
      reinterpret_cast<const unsigned char*>(args.products.x) +
          static_cast<long long>(blockIdx.y) * args.slice * space.stage.bytes(),
      operand_stages(part.tiles));
  __syncthreads();
  wait_for_predecessor();
  let_successor_start();
  for (int i = 0; i < Space<S>::kXStages - 1; ++i) stages.ask();
  make_scales<S>(args, part, space.scales);
  typename S::Sums acc = {};
  if (args.products.planes == 1) {
    multiply_slice<S>(args, part, space.stage, chunks, stages, PlaneCount<1>{},
                      acc);
  } else {
    multiply_slice<S>(args, part, space.stage, chunks, stages,
                      args.products.planes, acc);
  }
  if (add_slices<S>(args, space, acc)) {
    ProductWriter<S>(args, space).run(part, acc);
  }
}

}  // namespace

#define LLAMLX_SOME_ROWS_KERNEL(name, columns, ...)                            \
  LLAMLX_KERNEL(some_rows_##name##_n##columns, SomeRowsArgs, kSomeRowsThreads, \
                some_rows_together(columns)) {                                 \
    some_rows<__VA_ARGS__, columns>(args);                                     \
  }
#define LLAMLX_SOME_ROWS_KERNELS(name, ...)     \
  LLAMLX_SOME_ROWS_KERNEL(name, 1, __VA_ARGS__) \
  LLAMLX_SOME_ROWS_KERNEL(name, 2, __VA_ARGS__) \
  LLAMLX_SOME_ROWS_KERNEL(name, 4, __VA_ARGS__) \
  LLAMLX_SOME_ROWS_KERNEL(name, 8, __VA_ARGS__)

LLAMLX_SOME_ROWS_KERNELS(f16, DenseTile<F16>)
LLAMLX_SOME_ROWS_KERNELS(bf16, DenseTile<Bf16>)

#define LLAMLX_AFFINE_KERNELS(bits)                                           \
  LLAMLX_SOME_ROWS_KERNELS(affine##bits##_g32_f32, AffineTile<bits, 32, F32>) \
  LLAMLX_SOME_ROWS_KERNELS(affine##bits##_g32_f16, AffineTile<bits, 32, F16>) \
  LLAMLX_SOME_ROWS_KERNELS(affine##bits##_g32_bf16,                           \
                           AffineTile<bits, 32, Bf16>)                        \
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
