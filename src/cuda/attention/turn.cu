#include "cuda/attention/segment_access.h"
#include "cuda/attention/softmax.h"
#include "cuda/attention/turn.h"
#include "cuda/attention/turned_head.h"

namespace llamlx::cuda {
namespace {

/// One row of a segment; warps take its heads in turn.
template <typename T, int kDim>
class RowTurner {
 public:
  __device__ RowTurner(const TurnArgs& args, const SegmentView& segment,
                       int row)
      : args_(args),
        segment_(segment),
        row_(row),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize) {}

  __device__ void run() const {
    const int heads = args_.num_heads + 2 * args_.num_kv_heads;
    constexpr int kWarps = kTurnThreads / kWarpSize;
    for (int head = static_cast<int>(threadIdx.x) / kWarpSize; head < heads;
         head += kWarps) {
      turn(head);
    }
  }

 private:
  const TurnArgs& args_;
  const SegmentView& segment_;
  int row_;  // of the segment
  int lane_;

  __device__ long long pass_row() const { return segment_.first_row + row_; }

  /// Of queries, keys and values together.
  __device__ void turn(int head) const {
    const int kv_heads = args_.num_kv_heads;
    const long long heads = args_.num_heads + 2 * kv_heads;
    TurnedHead<kDim> x({args_.head_dim, args_.traditional}, lane_);
    x.load(args_.qkv + (pass_row() * heads + head) * args_.head_dim);
    const auto* cos_sin = args_.cos_sin + pass_row() * args_.head_dim;
    const int kv_head = head - args_.num_heads;
    if (kv_head < 0) {
      const float scale = kLog2E * rsqrtf(static_cast<float>(args_.head_dim));
      x.prepare(args_.q_norm, cos_sin);
      x.turn(args_.eps, scale);
      auto* to =
          args_.q + (static_cast<long long>(head) * args_.rows + pass_row()) *
                        args_.head_dim;
      store(x, reinterpret_cast<unsigned char*>(to));
      return;
    }
    const CachedHead<T> cache(segment_, args_.layer, kv_heads,
                              kv_head % kv_heads, args_.head_dim);
    const auto at =
        static_cast<long long>(segment_.offset + row_) * cache.row_bytes;
    if (kv_head >= kv_heads) {
      store(x, cache.values + at);
      return;
    }
    x.prepare(args_.k_norm, cos_sin);
    x.turn(args_.eps, 1);
    store(x, cache.keys + at);
  }

  __device__ static void store(const TurnedHead<kDim>& x, unsigned char* to) {
    x.store(
        [&](int at, float a, float b) { store_duo(T{}, to + 2 * at, a, b); });
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

LLAMLX_KERNEL(turn_rows_f16, TurnArgs, kTurnThreads, 1) {
  turn_rows<F16>(args);
}
LLAMLX_KERNEL(turn_rows_bf16, TurnArgs, kTurnThreads, 1) {
  turn_rows<Bf16>(args);
}

}  // namespace llamlx::cuda
