#include "cuda/attention/many_rows_hopper.h"
#include "cuda/attention/segment_access.h"
#include "cuda/attention/softmax.h"
#include "cuda/attention/turned_head.h"
#include "cuda/matmul/warpgroup.h"

namespace llamlx::cuda {
namespace {

#ifdef LLAMLX_HAS_WARPGROUPS

constexpr int kRows = kAttentionHopperRows;
constexpr int kTile = kAttentionHopperTile;
constexpr int kStages = kAttentionHopperStages;
constexpr int kGroupRows = 64;  // of a warpgroup
constexpr int kBringing = 128;  // threads that bring

/// What of a head's rows and positions a block looks at.
struct Part {
  SegmentView segment;
  int first_row;
  int begin;  // positions
  int end;
};

__device__ Part part_of(const AttentionManyArgs& args) {
  Part part;
  part.segment = load_segment(args.segments + blockIdx.z);
  // The last rows see most and come first.
  part.first_row = static_cast<int>(gridDim.y - 1 - blockIdx.y) * kRows;
  const int offset = part.segment.offset;
  part.begin = args.window > 0
                   ? larger(0, offset + part.first_row + 1 - args.window)
                   : 0;
  part.end = offset + smaller(part.segment.length, part.first_row + kRows);
  return part;
}

/// Shared memory: queries, then keys and values of each stage, in halves of 64
/// columns, of 128 bytes a row, as warpgroups read them.
template <int kDim>
class Space {
 public:
  static constexpr int kTileBytes = kTile * kDim * 2;

  /// Makes the barriers: by all threads, who meet before they go on.
  __device__ Space()
      : memory_(memory_of_operands()),
        barriers_(reinterpret_cast<std::uint64_t*>(memory_ + kRows * kDim * 2 +
                                                   2 * kStages * kTileBytes)) {
    if (threadIdx.x == 0) {
      for (int i = 0; i < kStages; ++i) {
        make_barrier(full(i), kBringing / kWarpSize);
        make_barrier(empty(i), 2 * kGroupRows / 16);
      }
      show_barriers();
    }
    __syncthreads();
  }

  __device__ unsigned char* queries() const { return memory_; }
  __device__ unsigned char* keys(int stage) const {
    return memory_ + kRows * kDim * 2 + 2 * stage * kTileBytes;
  }
  __device__ unsigned char* values(int stage) const {
    return keys(stage) + kTileBytes;
  }
  __device__ std::uint64_t* full(int stage) const { return barriers_ + stage; }
  __device__ std::uint64_t* empty(int stage) const {
    return barriers_ + kStages + stage;
  }

 private:
  unsigned char* memory_;
  std::uint64_t* barriers_;
};

/// What the third warpgroup does.
template <typename T, int kDim>
class Bringer {
 public:
  __device__ Bringer(const AttentionManyArgs& args, const Part& part,
                     const Space<kDim>& space)
      : args_(args),
        part_(part),
        space_(space),
        cache_(
            part.segment, args.layer, args.num_kv_heads,
            static_cast<int>(blockIdx.x) / (args.num_heads / args.num_kv_heads),
            args.head_dim) {}

  __device__ void run() const {
    bring_queries();
    int tile = 0;
    for (int first = part_.begin; first < part_.end; first += kTile, ++tile) {
      const int stage = tile % kStages;
      // Those before first: until they are there, nobody is done with any.
      if (tile > 0) {
        wait_for_copies<0>();
        tell((tile - 1) % kStages);
      }
      if (tile >= kStages) {
        wait_at_barrier(space_.empty(stage), (tile / kStages - 1) % 2);
      }
      const auto row_bytes = static_cast<long long>(cache_.row_bytes);
      const auto is_there = [&](int row) { return first + row < part_.end; };
      bring(space_.keys(stage), cache_.keys + first * row_bytes, row_bytes,
            kTile, is_there);
      bring(space_.values(stage), cache_.values + first * row_bytes, row_bytes,
            kTile, is_there);
      commit_copies();
    }
    wait_for_copies<0>();
    if (tile > 0) tell((tile - 1) % kStages);
  }

 private:
  const AttentionManyArgs& args_;
  const Part& part_;
  const Space<kDim>& space_;
  CachedHead<T> cache_;

  __device__ void bring_queries() const {
    const auto head = static_cast<long long>(blockIdx.x) * args_.rows;
    const auto row = head + part_.segment.first_row + part_.first_row;
    bring(
        space_.queries(),
        reinterpret_cast<const unsigned char*>(args_.q + row * args_.head_dim),
        args_.head_dim * 2, kRows,
        [&](int at) { return part_.first_row + at < part_.segment.length; });
  }

  /// Rows of a head: zeros for those that are not there.
  template <typename IsThere>
  __device__ void bring(unsigned char* to, const unsigned char* from,
                        long long row_bytes, int rows,
                        const IsThere& is_there) const {
    constexpr int kPieces = kDim / 8;  // of 16 bytes, of a row
    for (int i = static_cast<int>(threadIdx.x) % kBringing; i < rows * kPieces;
         i += kBringing) {
      const int row = i / kPieces;
      const int piece = i % kPieces;
      const bool is = is_there(row) && 8 * piece < args_.head_dim;
      const int at =
          piece / 8 * rows * 128 + row * 128 + ((piece % 8) ^ (row % 8)) * 16;
      copy_async(to + at, is ? from + row * row_bytes + piece * 16 : from, is);
    }
  }

  __device__ void tell(int stage) const {
    show_to_matrix_unit();
    __syncwarp();
    if (threadIdx.x % kWarpSize == 0) arrive_at_barrier(space_.full(stage));
  }
};

/// What a warpgroup does with its 64 rows of a head. Lane 4 g + t of a warp has
/// rows g and g + 8 of its 16, as h = 0 and 1, and of each 8 columns 2 t and
/// 2 t + 1.
template <typename T, int kDim>
class Looker {
 public:
  static constexpr float kLift = static_cast<float>(lift(T{}));

  __device__ Looker(const AttentionManyArgs& args, const Part& part,
                    const Space<kDim>& space)
      : args_(args), part_(part), space_(space) {
    const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
    lane_ = static_cast<int>(threadIdx.x) % kWarpSize;
    group_ = warp / 4;
    row_ = part.first_row + warp * 16 + lane_ / 4;
    high_ = part.segment.offset + row_;
    low_ = args.window > 0 ? high_ - args.window + 1 : -kRows;
  }

  __device__ void run() {
    const int first_high =
        part_.segment.offset + part_.first_row + group_ * kGroupRows;
    const int first_low =
        args_.window > 0 ? first_high - args_.window + 1 : -kRows;
    int tile = 0;
    for (int first = part_.begin; first < part_.end; first += kTile, ++tile) {
      const int stage = tile % kStages;
      wait_at_barrier(space_.full(stage), tile / kStages % 2);
      const int last = first + kTile - 1;
      const bool sees_any =
          first <= first_high + kGroupRows - 1 && last >= first_low;
      if (sees_any) score(stage);
      wait_for_products<0>();
      if (tile > 0) pass((tile - 1) % kStages);
      if (!sees_any) continue;
      const bool sees_all =
          last <= first_high && first >= first_low + kGroupRows - 1;
      weigh(first, sees_all);
      accumulate(stage);
    }
    wait_for_products<0>();
    write();
  }

 private:
  const AttentionManyArgs& args_;
  const Part& part_;
  const Space<kDim>& space_;
  int lane_;
  int group_;
  int row_;   // the first of the lane's
  int high_;  // the last position it sees
  int low_;   // the first
  float scores_[kTile / 8][4];
  std::uint32_t weights_[kTile / 16][4];
  float out_[kDim / 8][4] = {};
  RunningSoftmax softmax_[2];

  __device__ void pass(int stage) const {
    if (lane_ == 0) arrive_at_barrier(space_.empty(stage));
  }

  /// Begins the products of queries and keys.
  __device__ void score(int stage) {
#pragma unroll
    for (auto& c : scores_) c[0] = c[1] = c[2] = c[3] = 0;
    begin_products();
#pragma unroll
    for (int s = 0; s < kDim / 16; ++s) {
      const auto* q =
          space_.queries() + s / 4 * kRows * 128 + group_ * kGroupRows * 128;
      const auto* k = space_.keys(stage) + s / 4 * kTile * 128;
      multiply_warpgroup(T{}, scores_, describe_rows(q, s % 4),
                         describe_rows(k, s % 4));
    }
    commit_products();
  }

  __device__ void weigh(int first, bool sees_all) {
    const int t = lane_ % 4;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float s[kTile / 4];
#pragma unroll
      for (int i = 0; i < kTile / 4; ++i) {
        s[i] = scores_[i / 2][2 * h + i % 2];
        const int position = first + i / 2 * 8 + 2 * t + i % 2;
        const bool is_seen =
            sees_all || (position <= high_ + 8 * h && position >= low_ + 8 * h);
        if (!is_seen) s[i] = -INFINITY;
      }
      const float by = softmax_[h].weigh(s, kLift);
#pragma unroll
      for (int i = 0; i < kTile / 16; ++i) {
        weights_[i][h] = pack(T{}, s[4 * i], s[4 * i + 1]);
        weights_[i][2 + h] = pack(T{}, s[4 * i + 2], s[4 * i + 3]);
      }
#pragma unroll
      for (auto& c : out_) {
        c[2 * h] *= by;
        c[2 * h + 1] *= by;
      }
    }
  }

  /// Begins to add the values.
  __device__ void accumulate(int stage) {
    begin_products();
#pragma unroll
    for (int s = 0; s < kTile / 16; ++s) {
      const auto* v = space_.values(stage) + s * 16 * 128;
      multiply_warpgroup_turned(T{}, out_, weights_[s],
                                describe_turned(v, kTile * 128));
    }
    commit_products();
  }

  __device__ void write() const {
    const auto head = static_cast<long long>(blockIdx.x) * args_.head_dim;
    const auto stride =
        static_cast<long long>(args_.num_heads) * args_.head_dim;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float by = 1 / quad_sum(softmax_[h].sum);
      const int row = row_ + 8 * h;
      if (row >= part_.segment.length) continue;
      auto* to = args_.out + (part_.segment.first_row + row) * stride + head +
                 lane_ % 4 * 2;
#pragma unroll
      for (int i = 0; i < kDim / 8; ++i) {
        if (8 * i >= args_.head_dim) break;
        store_duo(F32{}, to + 8 * i, out_[i][2 * h] * by,
                  out_[i][2 * h + 1] * by);
      }
    }
  }
};

template <typename T, int kDim>
__device__ void attention_hopper(const AttentionManyArgs& args) {
  const Space<kDim> space;
  wait_for_predecessor();
  let_successor_start();
  const auto part = part_of(args);
  if (part.first_row >= part.segment.length) return;
  if (threadIdx.x < 2 * kBringing) {
    take_registers<224>();
    Looker<T, kDim>(args, part, space).run();
  } else {
    give_registers<56>();
    Bringer<T, kDim>(args, part, space).run();
  }
}

#else

template <typename T, int kDim>
__device__ void attention_hopper(const AttentionManyArgs&) {}

#endif  // LLAMLX_HAS_WARPGROUPS

}  // namespace

LLAMLX_KERNEL(attention_hopper_f16_d64, AttentionManyArgs,
              kAttentionHopperThreads, 1) {
  attention_hopper<F16, 64>(args);
}
LLAMLX_KERNEL(attention_hopper_f16_d128, AttentionManyArgs,
              kAttentionHopperThreads, 1) {
  attention_hopper<F16, 128>(args);
}
LLAMLX_KERNEL(attention_hopper_bf16_d64, AttentionManyArgs,
              kAttentionHopperThreads, 1) {
  attention_hopper<Bf16, 64>(args);
}
LLAMLX_KERNEL(attention_hopper_bf16_d128, AttentionManyArgs,
              kAttentionHopperThreads, 1) {
  attention_hopper<Bf16, 128>(args);
}

}  // namespace llamlx::cuda
