#include "cuda/attention/rounded_head.h"
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

/// A head of one row, as numbers.
template <typename T, int kDim>
__device__ void store_numbers(T, const TurnedHead<kDim>& head,
                              unsigned char* to) {
  head.store(
      [&](int at, float a, float b) { store_duo(T{}, to + 2 * at, a, b); });
}

/// One row of a segment, of which queries become T, and keys and values Cached.
/// A warp takes some of its heads at once, so that several are on their way.
template <typename T, typename Cached, int kDim>
class RowTurner {
 public:
  __device__ RowTurner(const TurnArgs& args, const SegmentView& segment,
                       int row)
      : args_(args),
        segment_(segment),
        row_(segment.first_row + row),
        position_(segment.offset + row),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize) {}

  __device__ void run() const {
    const float scale = kLog2E * rsqrtf(static_cast<float>(args_.head_dim));
    const int heads = args_.num_heads;
    const int kv_heads = args_.num_kv_heads;
    const auto head_size = static_cast<long long>(args_.rows) * args_.head_dim;
    auto* queries = args_.q + row_ * args_.head_dim;
    take(0, heads, {true, args_.q_norm, scale}, [&](int head, const Head& x) {
      store_numbers(
          T{}, x, reinterpret_cast<unsigned char*>(queries + head * head_size));
    });
    take(heads, kv_heads, {true, args_.k_norm, 1},
         [&](int head, const Head& x) { append(true, head, x); });
    take(heads + kv_heads, kv_heads, {false, nullptr, 1},
         [&](int head, const Head& x) { append(false, head, x); });
  }

 private:
  using Head = TurnedHead<kDim>;
  static constexpr int kWarps = kTurnThreads / kWarpSize;

  const TurnArgs& args_;
  const SegmentView& segment_;
  long long row_;  // of the pass
  int position_;
  int lane_;

  __device__ void append(bool is_key, int head, const Head& x) const {
    const CachedHead<Cached> cache(segment_, args_.layer, args_.num_kv_heads,
                                   head, args_.head_dim);
    if constexpr (number_type(Cached{}) == NumberType::q8) {
      store_rounded(x, RoundedHead<kDim>(x), cache.codes(is_key, position_),
                    cache.scales(is_key, position_), cache.row_scales, lane_);
    } else {
      store_numbers(Cached{}, x,
                    (is_key ? cache.keys : cache.values) +
                        static_cast<long long>(position_) * cache.row_bytes);
    }
  }

  /// Calls put(0, x), ... with heads `first` and those that follow.
  template <typename Put>
  __device__ void take(int first, int count, const Turning& turning,
                       const Put& put) const {
    constexpr int kAtOnce = kDim <= 128 ? 4 : 2;  // by registers
    Head each({args_.head_dim, args_.traditional}, lane_);
    if (turning.is_turned) {
      each.prepare(turning.norm, args_.cos_sin + row_ * args_.head_dim);
    }
    const int heads = args_.num_heads + 2 * args_.num_kv_heads;
    const auto* from = args_.qkv + (row_ * heads + first) * args_.head_dim;
    for (int head = static_cast<int>(threadIdx.x) / kWarpSize; head < count;
         head += kAtOnce * kWarps) {
      Head x[4] = {each, each, each, each};
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int at = head + i * kWarps;
        if (at < count) x[i].load(from + at * args_.head_dim);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (head + i * kWarps >= count) break;
        if (turning.is_turned) x[i].turn(args_.eps, turning.scale);
        put(head + i * kWarps, x[i]);
      }
    }
  }
};

template <typename T, typename Cached>
__device__ void turn_rows(const TurnArgs& args) {
  wait_for_predecessor();
  let_successor_start();
  const auto segment = load_segment(args.segments + blockIdx.y);
  const int row = static_cast<int>(blockIdx.x);
  if (row >= segment.length) return;
  if (args.head_dim <= 128) {
    RowTurner<T, Cached, 128>(args, segment, row).run();
  } else {
    RowTurner<T, Cached, 256>(args, segment, row).run();
  }
}

}  // namespace

LLAMLX_KERNEL(turn_rows_f16, TurnArgs, kTurnThreads, 4) {
  turn_rows<F16, F16>(args);
}
LLAMLX_KERNEL(turn_rows_bf16, TurnArgs, kTurnThreads, 4) {
  turn_rows<Bf16, Bf16>(args);
}
LLAMLX_KERNEL(turn_rows_q8_f16, TurnArgs, kTurnThreads, 3) {
  turn_rows<F16, Q8>(args);
}
LLAMLX_KERNEL(turn_rows_q8_bf16, TurnArgs, kTurnThreads, 3) {
  turn_rows<Bf16, Q8>(args);
}

}  // namespace llamlx::cuda
