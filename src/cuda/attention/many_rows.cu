#include "cuda/attention/many_rows.h"
#include "cuda/attention/segment_access.h"
#include "cuda/attention/softmax.h"
#include "cuda/attention/turned_head.h"

namespace llamlx::cuda {
namespace {

constexpr int kWarps = kAttentionManyThreads / kWarpSize;

/// Tiles of keys and values in shared memory, two of each: one is looked at
/// while the other comes.
template <typename T, int kDim>
class TileRing {
 public:
  static constexpr int kTile = attention_many_tile(kDim);
  static constexpr int kStride = attention_many_stride(kDim);

  __device__ TileRing(const CachedHead<T>& cache, int end, int head_dim)
      : cache_(cache),
        end_(end),
        head_dim_(head_dim),
        shared_(reinterpret_cast<std::uint16_t*>(shared_memory())) {}

  __device__ const std::uint16_t* keys(int which) const {
    return shared_ + which * kElements;
  }
  __device__ const std::uint16_t* values(int which) const {
    return shared_ + (2 + which) * kElements;
  }

  /// Asks for the positions from `first` on: zeros for those past the end.
  __device__ void load(int which, int first) {
    constexpr int kPieces = kDim / 8;  // of a row
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kPieces;
         i += kAttentionManyThreads) {
      const int row = i / kPieces;
      const int col = i % kPieces * 8;
      const bool is_there = first + row < end_ && col < head_dim_;
      const auto from =
          is_there
              ? static_cast<long long>(first + row) * cache_.row_bytes + 2 * col
              : 0;
      const int to = which * kElements + row * kStride + col;
      copy_async(shared_ + to, cache_.keys + from, is_there);
      copy_async(shared_ + 2 * kElements + to, cache_.values + from, is_there);
    }
    commit_copies();
  }

 private:
  static constexpr int kElements = kTile * kStride;

  const CachedHead<T>& cache_;
  int end_;
  int head_dim_;
  std::uint16_t* shared_;
};

/// Of 8 positions, which one lanes 4 g + t take for number g: so, two that are
/// read together lie 4 rows apart, in different banks.
__device__ constexpr int spread(int g) { return g / 2 + g % 2 * 4; }

/// What a warp does with kBlocks times 16 rows of one head. Lane 4 g + t has,
/// of block m, rows g and g + 8, as h = 0 and 1.
template <typename T, int kDim, int kBlocks>
class RowsStream {
 public:
  /// Positions whose scores it holds at once.
  static constexpr int kStep = kDim == 256    ? 16
                               : kBlocks == 1 ? 32
                                              : 2048 / kDim;
  static constexpr float kLift = static_cast<float>(lift(T{}));

  __device__ explicit RowsStream(int lane) : g_(lane / 4), t_(lane % 4) {}

  /// Row r of the warp is at q + r * head_dim, if it is one of `count`.
  __device__ void load_queries(const std::uint16_t* q, int count,
                               int head_dim) {
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = 16 * m + 8 * h + g_;
#pragma unroll
        for (int j = 0; j < kDim / 32; ++j) {
          const int col = 32 * j + 8 * t_;
          queries_[m][j][h] = {};
          if (row >= count || col >= head_dim) continue;
          queries_[m][j][h] = load_fresh(
              reinterpret_cast<const Words4*>(q + row * head_dim + col));
        }
      }
    }
  }

  /// Looks at kStep positions from `first` on, whose keys and values begin at
  /// `keys` and `values`: row r sees those from low + r to high + r.
  __device__ void look(const std::uint16_t* keys, const std::uint16_t* values,
                       int first, int low, int high, bool sees_all) {
    float s[kBlocks][2][kStep / 4];
    score(keys, s);
    if (!sees_all) mask(s, first, low, high);
    float corrections[kBlocks][2];
    bool any = false;
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        corrections[m][h] = softmax_[m][h].weigh(s[m][h], kLift);
        any = any || corrections[m][h] != 1;
      }
    }
    if (any_lane(any)) correct(corrections);
#pragma unroll
    for (int block = 0; block < kStep / 16; ++block) {
      accumulate(values + 16 * block * kStride, block, s);
    }
  }

  /// Rows follow each other by `stride`.
  __device__ void write(float* out, long long stride, int count,
                        int head_dim) const {
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = 16 * m + 8 * h + g_;
        const float by = 1 / quad_sum(softmax_[m][h].sum);
        if (row >= count) continue;
        auto* to = out + row * stride + 2 * t_;
#pragma unroll
        for (int i = 0; i < kDim / 8; ++i) {
          if (8 * i >= head_dim) break;
          store_duo(F32{}, to + 8 * i, out_[m][i][2 * h] * by,
                    out_[m][i][2 * h + 1] * by);
        }
      }
    }
  }

 private:
  static constexpr int kStride = attention_many_stride(kDim);

  int g_;
  int t_;
  Words4 queries_[kBlocks][kDim / 32][2];
  float out_[kBlocks][kDim / 8][4] = {};
  RunningSoftmax softmax_[kBlocks][2];

  /// Step 2 j + i of the products takes elements 4 i + 0, 1, 2, 3 of each 8.
  __device__ void score(const std::uint16_t* keys,
                        float (&s)[kBlocks][2][kStep / 4]) const {
    float c[kBlocks][kStep / 8][4] = {};
    const auto* mine = keys + spread(g_) * kStride + 8 * t_;
#pragma unroll
    for (int j = 0; j < kDim / 32; ++j) {
#pragma unroll
      for (int n = 0; n < kStep / 8; ++n) {
        const auto k =
            *reinterpret_cast<const Words4*>(mine + 8 * n * kStride + 32 * j);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const std::uint32_t b[2] = {k.w[2 * i], k.w[2 * i + 1]};
#pragma unroll
          for (int m = 0; m < kBlocks; ++m) {
            const auto& q = queries_[m][j];
            const std::uint32_t a[4] = {q[0].w[2 * i], q[1].w[2 * i],
                                        q[0].w[2 * i + 1], q[1].w[2 * i + 1]};
            multiply_add(T{}, c[m][n], a, b);
          }
        }
      }
    }
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
#pragma unroll
      for (int i = 0; i < kStep / 4; ++i) {
        s[m][0][i] = c[m][i / 2][i % 2];
        s[m][1][i] = c[m][i / 2][i % 2 + 2];
      }
    }
  }

  __device__ void mask(float (&s)[kBlocks][2][kStep / 4], int first, int low,
                       int high) const {
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
#pragma unroll
      for (int i = 0; i < kStep / 2; ++i) {
        const int h = i % 2;
        const int row = 16 * m + 8 * h + g_;
        const int position = first + i / 4 * 8 + spread(2 * t_ + i / 2 % 2);
        const bool is_seen = position >= low + row && position <= high + row;
        if (!is_seen) s[m][h][i / 2] = -INFINITY;
      }
    }
  }

  __device__ void correct(const float (&by)[kBlocks][2]) {
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
#pragma unroll
      for (int i = 0; i < kDim / 8; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) out_[m][i][j] *= by[m][j / 2];
      }
    }
  }

  /// The weights of 16 positions times their values.
  __device__ void accumulate(const std::uint16_t* values, int block,
                             const float (&s)[kBlocks][2][kStep / 4]) {
    std::uint32_t a[kBlocks][4];
#pragma unroll
    for (int m = 0; m < kBlocks; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const auto& p = s[m][i % 2];
        const int at = 4 * block + i / 2 * 2;
        a[m][i] = pack(T{}, p[at], p[at + 1]);
      }
    }
    const int lane = 4 * g_ + t_;
    const auto* mine = values +
                       (lane / 8 % 2 * 8 + spread(lane % 8)) * kStride +
                       lane / 16 * 8;
#pragma unroll
    for (int i = 0; i < kDim / 16; ++i) {
      std::uint32_t v[4];
      load_transposed(v, mine + 16 * i);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const std::uint32_t b[2] = {v[2 * n], v[2 * n + 1]};
#pragma unroll
        for (int m = 0; m < kBlocks; ++m) {
          multiply_add(T{}, out_[m][2 * i + n], a[m], b);
        }
      }
    }
  }
};

/// The rows of a block: its warps take kBlocks times 16 each.
template <typename T, int kDim, int kBlocks>
__device__ void attend(const AttentionManyArgs& args,
                       const SegmentView& segment, int first_row) {
  using Work = RowsStream<T, kDim, kBlocks>;
  using Ring = TileRing<T, kDim>;
  constexpr int kRows = 16 * kBlocks;  // of a warp
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int head = static_cast<int>(blockIdx.x);
  const int kv_head = head / (args.num_heads / args.num_kv_heads);
  const CachedHead<T> cache(segment, args.layer, args.num_kv_heads, kv_head,
                            args.head_dim);
  Ring ring(cache, segment.offset + segment.length, args.head_dim);

  const int begin =
      args.window > 0 ? larger(0, segment.offset + first_row + 1 - args.window)
                      : 0;
  const int end =
      segment.offset + smaller(segment.length, first_row + kRows * kWarps);
  ring.load(0, begin);

  const int row = first_row + warp * kRows;
  const int count = segment.length - row;
  const long long pass_row = segment.first_row + row;
  Work work(lane);
  work.load_queries(
      args.q +
          (static_cast<long long>(head) * args.rows + pass_row) * args.head_dim,
      count, args.head_dim);
  const int high = segment.offset + row;  // what the warp's first row sees last
  const int low = args.window > 0 ? high - args.window + 1 : -kRows;
  int which = 0;
  for (int first = begin; first < end; first += Ring::kTile, which ^= 1) {
    wait_for_copies<0>();
    __syncthreads();
    if (first + Ring::kTile < end) ring.load(which ^ 1, first + Ring::kTile);
#pragma unroll 1
    for (int i = 0; i < Ring::kTile; i += Work::kStep) {
      const int from = first + i;
      const int to = from + Work::kStep - 1;
      if (count <= 0 || from > high + kRows - 1 || to < low) continue;
      work.look(ring.keys(which) + i * Ring::kStride,
                ring.values(which) + i * Ring::kStride, from, low, high,
                to <= high && from >= low + kRows - 1);
    }
  }
  const long long stride =
      static_cast<long long>(args.num_heads) * args.head_dim;
  work.write(args.out + pass_row * stride + head * args.head_dim, stride, count,
             args.head_dim);
}

template <typename T, int kDim, int kBlocks>
__device__ void attention_many(const AttentionManyArgs& args) {
  constexpr int kRows = 16 * kBlocks * kWarps;  // of a block
  wait_for_predecessor();
  let_successor_start();
  const auto segment = load_segment(args.segments + blockIdx.z);
  // The last rows see most and come first.
  const int tile = static_cast<int>(gridDim.y - 1 - blockIdx.y);
  if (tile * kRows >= segment.length) return;
  attend<T, kDim, kBlocks>(args, segment, tile * kRows);
}

}  // namespace

#define LLAMLX_ATTENTION_MANY(type, Type, dim, rows, blocks)                 \
  LLAMLX_KERNEL(attention_many_##type##_d##dim##_r##rows, AttentionManyArgs, \
                kAttentionManyThreads, blocks) {                             \
    attention_many<Type, dim, rows / 64>(args);                              \
  }

LLAMLX_ATTENTION_MANY(f16, F16, 64, 64, 3)
LLAMLX_ATTENTION_MANY(f16, F16, 64, 128, 2)
LLAMLX_ATTENTION_MANY(f16, F16, 128, 64, 3)
LLAMLX_ATTENTION_MANY(f16, F16, 128, 128, 2)
LLAMLX_ATTENTION_MANY(f16, F16, 256, 64, 2)
LLAMLX_ATTENTION_MANY(bf16, Bf16, 64, 64, 3)
LLAMLX_ATTENTION_MANY(bf16, Bf16, 64, 128, 2)
LLAMLX_ATTENTION_MANY(bf16, Bf16, 128, 64, 3)
LLAMLX_ATTENTION_MANY(bf16, Bf16, 128, 128, 2)
LLAMLX_ATTENTION_MANY(bf16, Bf16, 256, 64, 2)

}  // namespace llamlx::cuda
