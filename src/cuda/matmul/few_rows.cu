#include "cuda/matmul/few_rows.h"
#include "cuda/matmul/row_loads.h"
#include "cuda/matmul/weight_stream.h"
#include "cuda/matmul/weight_tile.h"

namespace llamlx::cuda {
namespace {

constexpr int kWarps = kFewRowsWarps;
constexpr int kPartial = kFewRowsPartial;

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

  unsigned char* ring;      // [kWarps][stages] chunks of the weight
  std::uint64_t* barriers;  // [kWarps][stages]
  X* x;                     // [planes][rows][stride]
  float* partial;           // [2][kWarps][kPartial]
  float* squares;           // [kWarps], then the largest values [kWarps]
  float* scales;  // [8]: what the sums of a row of x are multiplied by
  int chunk;      // tiles
  int stride;

  __device__ explicit FewRowsSpace(const FewRowsArgs& args)
      : chunk(few_rows_chunk(Tile::kBytes, args.tiles, args.share)),
        stride(few_rows_stride(args.tiles)) {
    auto* bytes = shared_memory();
    constexpr int kChunks = kWarps * kFewRowsStages;
    ring = bytes;
    bytes += kChunks * chunk * Tile::kBytes;
    barriers = reinterpret_cast<std::uint64_t*>(bytes);
    bytes += kChunks * 8;
    x = reinterpret_cast<X*>(bytes);
    bytes += sizeof(X) * args.planes * args.rows * stride;
    partial = reinterpret_cast<float*>(bytes);
    squares = partial + 2 * kWarps * kPartial;
    scales = squares + 2 * kWarps;
  }
};

/// A constant number of planes.
template <int kCount>
struct PlaneCount {
  __device__ constexpr operator int() const { return kCount; }
};

/// What a row of x is multiplied by before it becomes an operand.
struct RowScale {
  float norm;
  float range;
};

/// The rows of x, normed and as operands.
template <typename Tile, typename Planes>
class RowMaker {
 public:
  __device__ RowMaker(const FewRowsArgs& args, const FewRowsSpace<Tile>& space,
                      Planes planes)
      : args_(args),
        space_(space),
        planes_(planes),
        warp_(static_cast<int>(threadIdx.x) / kWarpSize),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize),
        share_(warps_a_row(args.rows)),
        row_(warp_ / share_),
        first_(warp_ % share_ * kWarpSize),
        step_(share_ * kWarpSize),
        quads_(args.tiles * kTileCols / 4),
        x_(args.x + static_cast<long long>(row_) * args.cols) {}

  __device__ void run() {
    const bool is_mine = row_ < args_.rows;
    // What is asked for together arrives together.
    Floats4 held[kHeld];
    const bool holds_all = quads_ <= kHeld * step_;
    if (is_mine) {
      float squares = 0;
      float largest = 0;
      for (int base = first_; base < quads_; base += kHeld * step_) {
        load(base, held);
        add_statistics(base, held, squares, largest);
      }
      squares = warp_sum(squares);
      largest = warp_max(largest);
      if (lane_ == 0) {
        space_.squares[warp_] = squares;
        space_.squares[kWarps + warp_] = largest;
      }
    }
    __syncthreads();
    if (!is_mine) return;
    const auto [norm, range] = scale();
    if (first_ + lane_ == 0) space_.scales[row_] = 1 / range;
    if (args_.norm == nullptr) {
      write_all<false>(held, holds_all, range);
    } else {
      write_all<true>(held, holds_all, norm * range);
    }
  }

 private:
  static constexpr int kHeld = 7;

  // Warps share a row if there are more of them.
  __device__ static int warps_a_row(int rows) {
    return kWarps / (rows == 1 ? 1 : rows == 2 ? 2 : rows <= 4 ? 4 : 8);
  }

  __device__ void load(int base, Floats4 (&held)[kHeld]) const {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      held[i] = load_row(x_, 4 * (base + i * step_ + lane_), args_.cols);
    }
  }

  __device__ void add_statistics(int base, const Floats4 (&held)[kHeld],
                                 float& squares, float& largest) const {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      if (base + i * step_ >= quads_) break;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float v = held[i].f[j];
        squares += v * v;
        largest = fmaxf(largest, fabsf(v));
      }
    }
  }

  __device__ RowScale scale() const {
    const auto* squares = space_.squares + row_ * share_;
    float sum = 0;
    float largest = 0;
#pragma unroll 4
    for (int i = 0; i < share_; ++i) {
      sum += squares[i];
      largest = fmaxf(largest, squares[kWarps + i]);
    }
    const float norm =
        args_.norm == nullptr
            ? 1
            : rsqrtf(sum / static_cast<float>(args_.cols) + args_.eps);
    if (FewRowsSpace<Tile>::kIsWide) return {norm, 1};
    return {norm, range_scale(largest * args_.largest_norm * norm)};
  }

  template <bool kIsNormed>
  __device__ void write_all(Floats4 (&held)[kHeld], bool holds_all,
                            float by) const {
    for (int base = first_; base < quads_; base += kHeld * step_) {
      if (!holds_all) load(base, held);
#pragma unroll
      for (int i = 0; i < kHeld; ++i) {
        if (base + i * step_ >= quads_) break;
        const int quad = base + i * step_ + lane_;
        if (quad >= quads_) break;
        if constexpr (kIsNormed) {
          const auto w = load_norm(args_.norm, 4 * quad, args_.cols);
#pragma unroll
          for (int j = 0; j < 4; ++j) held[i].f[j] *= w.f[j];
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) held[i].f[j] *= by;
        write(quad, held[i]);
      }
    }
  }

  __device__ void write(int quad, const Floats4& v) const {
    if constexpr (FewRowsSpace<Tile>::kIsWide) {
      auto* to = space_.x + row_ * space_.stride + 4 * quad;
      *reinterpret_cast<Floats4*>(to) = v;
    } else {
      write_planes(quad, v);
    }
  }

  __device__ void write_planes(int quad, Floats4 v) const {
    auto* to = space_.x + row_ * space_.stride + 4 * quad;
    for (int plane = 0; plane < planes_; ++plane) {
      const Words2 words = {{split2<typename Tile::Operand>(v.f[0], v.f[1]),
                             split2<typename Tile::Operand>(v.f[2], v.f[3])}};
      *reinterpret_cast<Words2*>(to) = words;
      to += args_.rows * space_.stride;
    }
  }

  const FewRowsArgs& args_;
  const FewRowsSpace<Tile>& space_;
  Planes planes_;
  int warp_;
  int lane_;
  int share_;  // warps that have a row together
  int row_;
  int first_;  // quad of this warp
  int step_;
  int quads_;
  const float* x_;
};

/// The warps that have a block of 16 rows together.
struct WarpGroup {
  int share;   // warps
  int number;  // of this one in the block of threads
  int member;  // this warp in it
  int first;   // block of rows
  int step;    // from one to the next

  __device__ explicit WarpGroup(const FewRowsArgs& args)
      : share(args.share),
        number(static_cast<int>(threadIdx.x) / kWarpSize / share),
        member(static_cast<int>(threadIdx.x) / kWarpSize % share),
        first(static_cast<int>(blockIdx.x) * (kWarps / share) + number),
        step(static_cast<int>(gridDim.x) * (kWarps / share)) {}

  __device__ int threads() const { return share * kWarpSize; }
  __device__ int thread() const {
    return member * kWarpSize + static_cast<int>(threadIdx.x) % kWarpSize;
  }
  __device__ void meet() const { meet_group(number + 1, threads()); }
};

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
  template <typename Stream>
  __device__ void ask(Stream& stream) {
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
/// of the operand. Columns that no row is for are computed with the last one's,
/// and not looked at.
template <typename Tile>
struct LaneOfX {
  const typename FewRowsSpace<Tile>::X* x;
  int plane_step;

  __device__ LaneOfX(const FewRowsArgs& args, const FewRowsSpace<Tile>& space,
                     int lane)
      : x(space.x + min(lane / 4, args.rows - 1) * space.stride + lane % 4 * 8),
        plane_step(args.rows * space.stride) {}

  __device__ void move_to(int tile) { x += tile * kTileCols; }
};

/// acc += the products of a tile. `planes`: as in FewRowsArgs, or a constant.
/// Biases are multiplied with sums of x, which the matrix unit makes, too: by
/// ones.
template <typename Tile, typename Planes>
__device__ void multiply_tile(const Tile& tile, const LaneOfX<Tile>& from,
                              Planes planes, float (&acc)[4]) {
  constexpr int kRunsAGroup = Tile::kGroups == 2 ? 1 : 2;
  constexpr std::uint32_t kOne = 0x3c003c00U;
  constexpr std::uint32_t kOnes[4] = {kOne, kOne, kOne, kOne};
  float c[4] = {0, 0, 0, 0};
  float sums[4] = {0, 0, 0, 0};
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
        if constexpr (Tile::kGroups > 0) multiply_add(F16{}, sums, kOnes, b);
      }
    }
    if constexpr (Tile::kGroups > 0) {
      if ((run + 1) % kRunsAGroup != 0) continue;
      const int group = run / kRunsAGroup;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        acc[i] = fmaf(tile.scale(group, i / 2), c[i], acc[i]);
        acc[i] = fmaf(tile.bias(group, i / 2), sums[i], acc[i]);
        c[i] = 0;
        sums[i] = 0;
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
__device__ void multiply_wide_tile(const DenseTile32& tile,
                                   const FewRowsSpace<DenseTile32>& space,
                                   int rows, int index, int lane,
                                   float (&acc)[16]) {
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

/// What a warp has of a block of 16 rows, to where the block adds it up.
__device__ void write_partial(float (&acc)[4], int lane, float* partial) {
  auto* mine = partial + lane / 4 * 8 + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    mine[i / 2 * 64 + i % 2] = acc[i];
    acc[i] = 0;
  }
}
__device__ void write_partial(float (&acc)[16], int lane, float* partial) {
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    float sum = acc[i];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    if (lane % 4 == 0) partial[(i % 2 * 8 + lane / 4) * 8 + i / 2] = sum;
    acc[i] = 0;
  }
}

/// An output of a block of 16 rows: one row of the weight, or with swiglu the
/// two of a gate, and one of x. As many lanes as there are warps in a group
/// each have what one of those summed up for it.
class BlockOutput {
 public:
  static constexpr int kAtOnce = kWarpSize;  // of a group

  __device__ BlockOutput(const FewRowsArgs& args, const WarpGroup& group,
                         int block, int index)
      : args_(args), share_(group.share), lane_(group.thread() % group.share) {
    const bool is_gated = args.output == Output::swiglu;
    const int rows = is_gated ? 8 : kTileRows;
    row_ = index % rows;
    col_ = index / rows;
    n_ = block * kTileRows + row_;
    const int place = is_gated ? block * 8 + row_ : n_;
    const bool is_there =
        col_ < args.rows && (is_gated ? 2 * place : place) < args.out_rows;
    is_mine_ = is_there && lane_ == 0;
    out_ = args.out + static_cast<long long>(col_) * args.out_stride + place;
  }

  __device__ static int count(const FewRowsArgs& args) {
    return args.rows * (args.output == Output::swiglu ? 8 : kTileRows);
  }

  /// What is added to the products, asked for while they are made.
  __device__ float addend() const {
    if (!is_mine_ || args_.output == Output::swiglu) return 0;
    float value = args_.bias != nullptr ? args_.bias[n_] : 0;
    if (args_.output == Output::add) value += load_fresh(out_);
    return value;
  }

  /// `partial`: of the group's warps.
  __device__ void write(const float* partial, const float* scales,
                        float addend) const {
    const float first = sum(partial, row_);
    if (args_.output != Output::swiglu) {
      if (is_mine_) *out_ = first * scales[col_] + addend;
      return;
    }
    const float second = sum(partial, row_ + 8);
    if (!is_mine_) return;
    *out_ = silu(first * scales[col_] + bias(n_)) *
            (second * scales[col_] + bias(n_ + 8));
  }

 private:
  __device__ float sum(const float* partial, int row) const {
    float value = partial[lane_ * kPartial + row * 8 + col_];
#pragma unroll
    for (int step = kWarps / 2; step > 0; step /= 2) {
      if (step >= share_) continue;
      value += __shfl_xor_sync(kAllLanes, value, step);
    }
    return value;
  }
  __device__ float bias(int n) const {
    return args_.bias == nullptr ? 0 : args_.bias[n];
  }

  const FewRowsArgs& args_;
  int share_;
  int lane_;
  int row_;  // of the block
  int col_;  // row of x
  int n_;    // row of the weight
  bool is_mine_;
  float* out_;
};

/// Adds up what the warps of a group have of a block, and writes it. `addend`:
/// of the first output that this thread has to do with.
__device__ void write_block(const FewRowsArgs& args, const WarpGroup& group,
                            const float* partial, const float* scales,
                            int block, float addend) {
  const int first = group.thread() / group.share;
  for (int i = first; i < BlockOutput::count(args); i += BlockOutput::kAtOnce) {
    const BlockOutput output(args, group, block, i);
    output.write(partial, scales, i == first ? addend : output.addend());
  }
}

template <typename Tile, typename Planes>
__device__ void multiply_blocks(const FewRowsArgs& args, const WarpGroup& group,
                                const FewRowsSpace<Tile>& space,
                                WeightStream<kFewRowsStages>& stream,
                                ChunkCursor<Tile>& ahead, Planes planes) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const LaneOfX<Tile> start(args, space, lane);
  auto* partials = space.partial + group.number * group.share * kPartial;
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
    auto* partial = partials + parity * kWarps * kPartial;
    write_partial(acc, lane, partial + group.member * kPartial);
    group.meet();
    write_block(args, group, partial, space.scales, block, addend);
    parity ^= 1;
  }
}

/// Brings a norm's weights into the first cache.
__device__ void touch(const float* norm, int cols) {
  constexpr int kLine = 128 / sizeof(float);
  for (int i = static_cast<int>(threadIdx.x) * kLine; i < cols;
       i += kFewRowsThreads * kLine) {
    bring_nearest(norm + i);
  }
}

template <typename Tile, typename Planes>
__device__ void few_rows(const FewRowsArgs& args, Planes planes) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const FewRowsSpace<Tile> space(args);
  const int stage_bytes = space.chunk * Tile::kBytes;
  WeightStream<kFewRowsStages> stream(
      space.ring + warp * kFewRowsStages * stage_bytes, stage_bytes,
      space.barriers + warp * kFewRowsStages, lane);
  const WarpGroup group(args);
  ChunkCursor<Tile> ahead(args, group, space.chunk);
  for (int i = 0; i < kFewRowsStages; ++i) ahead.ask(stream);
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

}  // namespace

LLAMLX_KERNEL(few_rows_f32, FewRowsArgs, kFewRowsThreads, 2) {
  few_rows<DenseTile32>(args);
}
LLAMLX_KERNEL(few_rows_f16, FewRowsArgs, kFewRowsThreads, 2) {
  few_rows<DenseTile<F16>>(args);
}
LLAMLX_KERNEL(few_rows_bf16, FewRowsArgs, kFewRowsThreads, 2) {
  few_rows<DenseTile<Bf16>>(args);
}

#define LLAMLX_AFFINE_KERNEL(bits, group, type, Type)                   \
  LLAMLX_KERNEL(few_rows_affine##bits##_g##group##_##type, FewRowsArgs, \
                kFewRowsThreads, 2) {                                   \
    few_rows<AffineTile<bits, group, Type>>(args);                      \
  }
#define LLAMLX_AFFINE_KERNELS(bits)          \
  LLAMLX_AFFINE_KERNEL(bits, 32, f32, F32)   \
  LLAMLX_AFFINE_KERNEL(bits, 32, f16, F16)   \
  LLAMLX_AFFINE_KERNEL(bits, 32, bf16, Bf16) \
  LLAMLX_AFFINE_KERNEL(bits, 64, f32, F32)   \
  LLAMLX_AFFINE_KERNEL(bits, 64, f16, F16)   \
  LLAMLX_AFFINE_KERNEL(bits, 64, bf16, Bf16)

LLAMLX_AFFINE_KERNELS(2)
LLAMLX_AFFINE_KERNELS(3)
LLAMLX_AFFINE_KERNELS(4)
LLAMLX_AFFINE_KERNELS(5)
LLAMLX_AFFINE_KERNELS(6)
LLAMLX_AFFINE_KERNELS(8)

}  // namespace llamlx::cuda
