#include "cuda/attention/many_rows_hopper.h"
#include "cuda/attention/segment_access.h"
#include "cuda/attention/softmax.h"
#include "cuda/attention/turned_head.h"
#include "cuda/matmul/operand_order.h"
#include "cuda/matmul/warpgroup.h"

namespace llamlx::cuda {
namespace {

#ifdef LLAMLX_HAS_WARPGROUPS

constexpr int kRows = kAttentionHopperRows;
constexpr int kTile = kAttentionHopperTile;
constexpr int kStages = kAttentionHopperStages;
constexpr int kGroupRows = 64;  // of a warpgroup
constexpr int kBringing = 128;  // threads that bring

/// Rows of a head that a block looks at together, and what they see.
struct Part {
  SegmentView segment;
  int head;
  int first_row;
  int begin;  // positions
  int end;

  __device__ bool is_there() const { return first_row < segment.length; }
};

__device__ Part part_of(const AttentionManyArgs& args, int index) {
  Part part;
  part.head = index % args.num_heads;
  const int block = index / args.num_heads;
  part.segment = load_segment(args.segments + block % args.num_segments);
  // The last rows see most and come first.
  const int from_last = block / args.num_segments;
  part.first_row = (args.row_blocks - 1 - from_last) * kRows;
  const int offset = part.segment.offset;
  part.begin = args.window > 0
                   ? larger(0, offset + part.first_row + 1 - args.window)
                   : 0;
  part.end = offset + smaller(part.segment.length, part.first_row + kRows);
  return part;
}

/// Calls visit(part) for the parts of this block: it has one of each gridDim.x,
/// of which those who had the largest before have the smallest next.
template <typename Visit>
__device__ void visit_parts(const AttentionManyArgs& args, const Visit& visit) {
  const int parts = args.num_heads * args.num_segments * args.row_blocks;
  const int blocks = static_cast<int>(gridDim.x);
  const int block = static_cast<int>(blockIdx.x);
  bool is_turned = false;
  for (int first = 0; first < parts; first += blocks, is_turned = !is_turned) {
    const int index = first + (is_turned ? blocks - 1 - block : block);
    if (index >= parts) continue;
    const auto part = part_of(args, index);
    if (part.is_there()) visit(part);
  }
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
      make_barrier(seen(), 2 * kGroupRows / 16);
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
  /// Queries are no longer needed.
  __device__ std::uint64_t* seen() const { return barriers_ + 2 * kStages; }

 private:
  unsigned char* memory_;
  std::uint64_t* barriers_;
};

/// What the third warpgroup does. While some keys and values come, those before
/// are looked at.
template <typename T, int kDim>
class Bringer {
 public:
  __device__ Bringer(const AttentionManyArgs& args, const Space<kDim>& space)
      : args_(args), space_(space) {}

  __device__ void bring_part(const Part& part) {
    const CachedHead<T> cache(
        part.segment, args_.layer, args_.num_kv_heads,
        part.head / (args_.num_heads / args_.num_kv_heads), args_.head_dim);
    for (int first = part.begin; first < part.end; first += kTile, ++tile_) {
      const int stage = tile_ % kStages;
      if (tile_ >= kStages) {
        wait_at_barrier(space_.empty(stage), (tile_ / kStages - 1) % 2);
      }
      const auto from = static_cast<long long>(first) * cache.row_bytes;
      const int rows = part.end - first;
      bring<kTile>(space_.keys(stage), cache.keys + from, rows);
      bring<kTile>(space_.values(stage), cache.values + from, rows);
      commit_copies();
      wait_for_copies<1>();
      if (tile_ > 0) tell(tile_ - 1);
      if (first == part.begin) bring_queries(part);
    }
  }
  __device__ void finish() const {
    wait_for_copies<0>();
    if (tile_ > 0) tell(tile_ - 1);
  }

 private:
  const AttentionManyArgs& args_;
  const Space<kDim>& space_;
  int tile_ = 0;
  int part_ = 0;

  __device__ void bring_queries(const Part& part) {
    if (part_ > 0) wait_at_barrier(space_.seen(), (part_ - 1) % 2);
    ++part_;
    const auto row = static_cast<long long>(part.head) * args_.rows +
                     part.segment.first_row + part.first_row;
    bring<kRows>(
        space_.queries(),
        reinterpret_cast<const unsigned char*>(args_.q + row * args_.head_dim),
        part.segment.length - part.first_row);
    commit_copies();
  }

  /// Up to kCount rows of a head, of which `rows` are there: zeros for others.
  /// A thread has the same columns of every few rows.
  template <int kCount>
  __device__ void bring(unsigned char* to, const unsigned char* from,
                        int rows) const {
    constexpr int kPieces = kDim / 8;  // of 16 bytes, of a row
    constexpr int kAtOnce = kBringing / kPieces;
    static_assert(kAtOnce % 8 == 0);  // rows whose pieces change places alike
    const int thread = static_cast<int>(threadIdx.x) % kBringing;
    const int row = thread / kPieces;
    const int piece = thread % kPieces;
    to += piece / 8 * kCount * 128 + row * 128 + ((piece % 8) ^ (row % 8)) * 16;
    if (args_.head_dim == kDim && rows >= kCount) {
      from += row * kDim * 2 + piece * 16;
#pragma unroll
      for (int i = 0; i < kCount; i += kAtOnce) {
        copy_async(to + i * 128, from + i * kDim * 2);
      }
      return;
    }
    const int row_bytes = args_.head_dim * 2;
#pragma unroll 1
    for (int i = 0; i < kCount; i += kAtOnce) {
      const bool is = i + row < rows && 8 * piece < args_.head_dim;
      copy_async(to + i * 128,
                 is ? from + (i + row) * row_bytes + piece * 16 : from, is);
    }
  }

  __device__ void tell(int tile) const {
    show_to_matrix_unit();
    __syncwarp();
    if (threadIdx.x % kWarpSize == 0) {
      arrive_at_barrier(space_.full(tile % kStages));
    }
  }
};

/// What a warpgroup does with its 64 rows of a head. Lane 4 g + t of a warp has
/// rows g and g + 8 of its 16, as h = 0 and 1, and of each 8 columns 2 t and
/// 2 t + 1.
template <typename T, int kDim>
class Looker {
 public:
  static constexpr int kNone = -1;  // instead of a stage
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

  /// `tile`: of all that the block looks at.
  __device__ void run(int& tile) {
    const int first_high =
        part_.segment.offset + part_.first_row + group_ * kGroupRows;
    const int first_low =
        args_.window > 0 ? first_high - args_.window + 1 : -kRows;
    int weighed = kNone;
    for (int first = part_.begin; first < part_.end; first += kTile, ++tile) {
      const int stage = tile % kStages;
      wait_at_barrier(space_.full(stage), tile / kStages % 2);
      const int last = first + kTile - 1;
      const bool sees_any =
          first <= first_high + kGroupRows - 1 && last >= first_low;
      if (!sees_any) {
        weighed = add_values(weighed);
        pass(stage);
        continue;
      }
      score(stage);
      if (weighed == kNone) {
        wait_for_products<0>();
      } else {
        accumulate(weighed);
        wait_for_products<1>();
      }
      const bool sees_all =
          last <= first_high && first >= first_low + kGroupRows - 1;
      if (!sees_all) hide(first);
      weigh();
      wait_for_products<0>();
      if (weighed != kNone) pass(weighed);
      settle();
      weighed = stage;
    }
    pass_on(space_.seen());
    add_values(weighed);
    write();
  }

 private:
  const AttentionManyArgs& args_;
  const Part& part_;
  const Space<kDim>& space_;
  int lane_;
  int group_;
  int row_;                     // the first of the lane's
  int high_;                    // the last position it sees
  int low_;                     // the first
  float scores_[kTile / 8][4];  // and then weights of the softmax
  std::uint32_t weights_[kTile / 16][4];
  float out_[kDim / 8][4] = {};
  RunningSoftmax softmax_[2];
  float by_[2];  // what was summed up before is multiplied by

  __device__ void pass_on(std::uint64_t* barrier) const {
    if (lane_ == 0) arrive_at_barrier(barrier);
  }
  __device__ void pass(int stage) const { pass_on(space_.empty(stage)); }

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

  /// Takes scores away that are not seen.
  __device__ void hide(int first) {
#pragma unroll
    for (int i = 0; i < kTile / 2; ++i) {
      auto& score = scores_[i / 4][i % 4];
      const int position = first + i / 4 * 8 + lane_ % 4 * 2 + i % 2;
      const int later = i % 4 / 2 * 8;  // of the lane's two rows
      if (position > high_ + later || position < low_ + later) {
        score = -INFINITY;
      }
    }
  }

  /// Makes weights of scores. What is summed up may be added to meanwhile.
  __device__ void weigh() {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float s[kTile / 4];
#pragma unroll
      for (int i = 0; i < kTile / 4; ++i) s[i] = scores_[i / 2][2 * h + i % 2];
      by_[h] = softmax_[h].weigh(s, kLift);
#pragma unroll
      for (int i = 0; i < kTile / 4; ++i) scores_[i / 2][2 * h + i % 2] = s[i];
    }
  }

  /// Makes operands of the weights, and what is summed up as large as they ask.
  __device__ void settle() {
#pragma unroll
    for (int i = 0; i < kTile / 16; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const auto& two = scores_[2 * i + j / 2];
        weights_[i][j] = pack(T{}, two[2 * (j % 2)], two[2 * (j % 2) + 1]);
      }
    }
#pragma unroll
    for (auto& c : out_) {
#pragma unroll
      for (int j = 0; j < 4; ++j) c[j] *= by_[j / 2];
    }
  }

  /// Adds the values of a stage whose weights there are, if there are any.
  __device__ int add_values(int stage) {
    if (stage == kNone) return kNone;
    accumulate(stage);
    wait_for_products<0>();
    pass(stage);
    return kNone;
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
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float by = 1 / quad_sum(softmax_[h].sum);
      if (row_ + 8 * h >= part_.segment.length) continue;
      const int row = part_.segment.first_row + row_ + 8 * h;
#pragma unroll
      for (int i = 0; i < kDim / 8; ++i) {
        if (8 * i >= args_.head_dim) break;
        put(row, 8 * i + lane_ % 4 * 2, out_[i][2 * h] * by,
            out_[i][2 * h + 1] * by);
      }
    }
  }

  /// Two columns of the head.
  __device__ void put(int row, int col, float x, float y) const {
    const int at = part_.head * args_.head_dim + col;
    if (args_.operands == nullptr) {
      const auto stride =
          static_cast<long long>(args_.num_heads) * args_.head_dim;
      return store_duo(F32{}, args_.out + row * stride + at, x, y);
    }
    const auto tile = static_cast<long long>(at / kTileCols) * args_.rows;
    auto* to = args_.operands + (tile + row) * kTileCols +
               place_in_row(OperandOrder::tiles, row, at % kTileCols);
    *reinterpret_cast<std::uint32_t*>(to) = pack(Bf16{}, x, y);
  }
};

template <typename T, int kDim>
__device__ void attention_hopper(const AttentionManyArgs& args) {
  const Space<kDim> space;
  wait_for_predecessor();
  let_successor_start();
  if (threadIdx.x < 2 * kBringing) {
    take_registers<232>();
    int tile = 0;
    visit_parts(args, [&](const Part& part) {
      Looker<T, kDim>(args, part, space).run(tile);
    });
  } else {
    give_registers<40>();
    Bringer<T, kDim> bringer(args, space);
    visit_parts(args, [&](const Part& part) { bringer.bring_part(part); });
    bringer.finish();
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
