#pragma once

#include "cuda/decode/attention_split.h"

namespace llamlx::cuda {

/// The attention of a layer: units among all blocks. T: the cache's type.
template <typename T>
class DecodeAttention {
 public:
  __device__ explicit DecodeAttention(const DecodeArgs& args) : args_(args) {}

  /// Keeps what heads are turned by. Then the threads must meet.
  __device__ void keep_turns() const {
    for (int i = thread_now(); i < args_.head_dim; i += kDecodeThreads) {
      decode_turns()[i] = args_.turns[i];
    }
  }
  /// Finds what splits of each layer look at, which takes divisions. Then the
  /// threads must meet.
  __device__ void keep_spans(const DecodeLayer* layers) const {
    const int of_warp = decode_positions(attention_padded_dim(args_.head_dim));
    for (int i = thread_now(); i < args_.num_layers; i += kDecodeThreads) {
      spans()[i] =
          decode_span(args_.segment.offset, static_cast<int>(layers[i].window),
                      of_warp, args_.attention.splits);
    }
  }

  /// Asks for what of the cache the layer's warps will look at first. By all
  /// lanes of a warp together.
  __device__ void bring_cache_near(int layer) const {
    const auto span = spans()[layer];
    const int first =
        kDecodeWarps * decode_positions(attention_padded_dim(args_.head_dim));
    for_each_unit([&](const AttentionUnit& unit) {
      if (unit.split >= span.used) return;
      const SplitPositions positions(span, unit.split, args_.segment.offset);
      const auto cached = cache(layer, unit.kv_head);
      const int bytes = smaller(positions.old(), first) * cached.row_bytes;
      const auto from =
          static_cast<long long>(positions.begin) * cached.row_bytes;
      if (bytes == 0) return;
      bring_bytes_near(cached.keys + from, bytes);
      bring_bytes_near(cached.values + from, bytes);
    });
  }

  __device__ void run(const DecodeLayer& layer, int index, Mark mark) const {
    const auto span = spans()[index];
    const AttentionParts parts(args_, mark);
    for_each_unit([&](const AttentionUnit& unit) {
      if (unit.split < span.used) {
        if (args_.head_dim <= 64) {
          attend<64>(layer, index, unit, span, mark);
        } else {
          attend<128>(layer, index, unit, span, mark);
        }
      }
      if (unit.split >= span.used || span.used == 1) {
        parts.publish_nothing(unit);
      }
    });
    if (span.used == 1) return;
    // Others may wait for any of this block's parts.
    for_each_unit(
        [&](const AttentionUnit& unit) { parts.join(unit, span.used); });
  }

 private:
  const DecodeArgs& args_;

  __device__ DecodeSpan* spans() const {
    return reinterpret_cast<DecodeSpan*>(shared_memory() + args_.memory.spans);
  }
  __device__ CachedHead<T> cache(int layer, int kv_head) const {
    return {args_.segment, layer, args_.num_kv_heads, kv_head, args_.head_dim};
  }

  /// Those that are this block's.
  template <typename Do>
  __device__ void for_each_unit(const Do& act) const {
#pragma unroll 1
    for (int unit = static_cast<int>(blockIdx.x);
         unit < args_.attention.units(); unit += static_cast<int>(gridDim.x)) {
      act(AttentionUnit(args_, unit));
    }
  }

  template <int kDim>
  __device__ void attend(const DecodeLayer& layer, int index,
                         const AttentionUnit& unit, const DecodeSpan& span,
                         Mark mark) const {
    const SplitPositions positions(span, unit.split, args_.segment.offset);
    const auto cached = cache(index, unit.kv_head);
    SplitAttention<T, kDim> attention(args_, layer, unit, positions, cached);
    attention.run(mark, span.used == 1);
  }
};

}  // namespace llamlx::cuda
