#include "cuda/attention/segment_access.h"
#include "cuda/attention/softmax.h"
#include "cuda/attention/turn.h"
#include "cuda/attention/turned_head.h"

namespace llamlx::cuda {
namespace {

/// What is done to heads of one kind.
struct Turning {
  bool is_turned;
  const float* norm;
  float scale;
};

/// One row of a segment. A warp takes some of its heads at once, so that
/// several are on their way.
template <typename T, int kDim>
class RowTurner {
 public:
  __device__ RowTurner(const TurnArgs& args, const SegmentView& segment,
                       int row)
      : args_(args),
        cache_(segment, args.layer, args.num_kv_heads, 0, args.head_dim),
        head_bytes_(static_cast<long long>(segment.capacity) *
                    cache_.row_bytes),
        row_(segment.first_row + row),
        at_(static_cast<long long>(segment.offset + row) * cache_.row_bytes) {}

  __device__ void run() const {
    const float scale = kLog2E * rsqrtf(static_cast<float>(args_.head_dim));
    const int heads = args_.num_heads;
    const int kv_heads = args_.num_kv_heads;
    const auto head_size = static_cast<long long>(args_.rows) * args_.head_dim;
    auto* queries = args_.q + row_ * args_.head_dim;
    take(0, heads, {true, args_.q_norm, scale}, [&](int head) {
      return reinterpret_cast<unsigned char*>(queries + head * head_size);
    });
    take(heads, kv_heads, {true, args_.k_norm, 1},
         [&](int head) { return cache_.keys + at_ + head * head_bytes_; });
    take(heads + kv_heads, kv_heads, {false, nullptr, 1},
         [&](int head) { return cache_.values + at_ + head * head_bytes_; });
  }

 private:
  static constexpr int kWarps = kTurnThreads / kWarpSize;

  const TurnArgs& args_;
  CachedHead<T> cache_;   // the first
  long long head_bytes_;  // from a cached head to the next
  long long row_;         // of the pass
  long long at_;          // of the row, in a cached head

  /// Heads `first` and those that follow go where place(0), ... say.
  template <typename Place>
  __device__ void take(int first, int count, const Turning& turning,
                       const Place& place) const {
    constexpr int kAtOnce = kDim <= 128 ? 4 : 2;  // by registers
    const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
    TurnedHead<kDim> each({args_.head_dim, args_.traditional}, lane);
    if (turning.is_turned) {
      each.prepare(turning.norm, args_.cos_sin + row_ * args_.head_dim);
    }
    const int heads = args_.num_heads + 2 * args_.num_kv_heads;
    const auto* from = args_.qkv + (row_ * heads + first) * args_.head_dim;
    for (int head = static_cast<int>(threadIdx.x) / kWarpSize; head < count;
         head += kAtOnce * kWarps) {
      TurnedHead<kDim> x[4] = {each, each, each, each};
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int at = head + i * kWarps;
        if (at < count) x[i].load(from + at * args_.head_dim);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (head + i * kWarps >= count) break;
        if (turning.is_turned) x[i].turn(args_.eps, turning.scale);
        auto* to = place(head + i * kWarps);
        x[i].store([&](int at, float a, float b) {
          store_duo(T{}, to + 2 * at, a, b);
        });
      }
    }
  }
};

template <typename T>
__device__ void turn_rows(const TurnArgs& args) {
  wait_for_predecessor();
  let_successor_start();
  const auto segment = load_segment(args.segments + blockIdx.y);
  const int row = static_cast<int>(blockIdx.x);
  if (row >= segment.length) return;
  if (args.head_dim <= 128) {
    RowTurner<T, 128>(args, segment, row).run();
  } else {
    RowTurner<T, 256>(args, segment, row).run();
  }
}

}  // namespace

LLAMLX_KERNEL(turn_rows_f16, TurnArgs, kTurnThreads, 4) {
  turn_rows<F16>(args);
}
LLAMLX_KERNEL(turn_rows_bf16, TurnArgs, kTurnThreads, 4) {
  turn_rows<Bf16>(args);
}

}  // namespace llamlx::cuda
