#pragma once

#include <cstring>

#include "cuda/cached_rows.h"
#include "cuda/intrinsics.h"
#include "cuda/segment.h"

namespace llamlx::cuda {

__device__ inline SegmentView load_segment(const SegmentView* segment) {
  static_assert(sizeof(SegmentView) == 2 * sizeof(Words4));
  Words4 words[2];
  for (int i = 0; i < 2; ++i) {
    words[i] = load_fresh(reinterpret_cast<const Words4*>(segment) + i);
  }
  SegmentView view;
  memcpy(&view, words, sizeof view);
  return view;
}

/// The cache's keys and values of one layer and key/value head.
template <typename T>
struct CachedHead {
  static constexpr int kSize = number_bytes(number_type(T{}));

  unsigned char* keys;  ///< of position 0
  unsigned char* values;
  int row_bytes;  ///< of a position

  __device__ CachedHead(const SegmentView& segment, int layer, int num_kv_heads,
                        int kv_head, int head_dim)
      : row_bytes(head_dim * kSize) {
    const long long head = static_cast<long long>(segment.capacity) * row_bytes;
    keys = segment.cache + layer * segment.layer_bytes + kv_head * head;
    values = keys + num_kv_heads * head;
  }
};

/// Of numbers of 8 bits.
template <>
struct CachedHead<Q8> {
  unsigned char* keys;  ///< of position 0
  unsigned char* values;
  float* key_scales;
  float* value_scales;
  int row_bytes;   ///< of a position
  int row_scales;  ///< the same

  __device__ CachedHead(const SegmentView& segment, int layer, int num_kv_heads,
                        int kv_head, int head_dim)
      : row_bytes(cached_row_bytes(NumberType::q8, head_dim)),
        row_scales(cached_row_scales(NumberType::q8, head_dim)) {
    const auto head =
        cached_head_bytes(NumberType::q8, head_dim, segment.capacity);
    const auto codes = static_cast<long long>(segment.capacity) * row_bytes;
    keys = segment.cache + layer * segment.layer_bytes + kv_head * head;
    values = keys + num_kv_heads * head;
    key_scales = reinterpret_cast<float*>(keys + codes);
    value_scales = reinterpret_cast<float*>(values + codes);
  }

  __device__ unsigned char* codes(bool is_key, int position) const {
    return (is_key ? keys : values) +
           static_cast<long long>(position) * row_bytes;
  }
  __device__ float* scales(bool is_key, int position) const {
    return (is_key ? key_scales : value_scales) +
           static_cast<long long>(position) * row_scales;
  }
};

inline constexpr int kNearBytes = 128 << 10;

/// Brings positions from `first` on nearer, up to `end` or as many as will
/// stay: by so many threads, of which this is one.
template <typename T>
__device__ void bring_positions_near(const CachedHead<T>& cache, int first,
                                     int end, int thread, int threads) {
  const int bytes = smaller(kNearBytes, (end - first) * cache.row_bytes);
  const auto from = static_cast<long long>(first) * cache.row_bytes;
#pragma unroll 1
  for (int at = thread * 128; at < bytes; at += threads * 128) {
    bring_near(cache.keys + from + at);
    bring_near(cache.values + from + at);
  }
}

/// With their scales.
__device__ inline void bring_positions_near(const CachedHead<Q8>& cache,
                                            int first, int end, int thread,
                                            int threads) {
  bring_positions_near<Q8>(cache, first, end, thread, threads);
  constexpr int kNear = 128 / sizeof(float);
  const int positions = smaller(kNearBytes / cache.row_bytes, end - first);
#pragma unroll 1
  for (int at = thread * kNear; at < positions * cache.row_scales;
       at += threads * kNear) {
    bring_near(cache.scales(true, first) + at);
    bring_near(cache.scales(false, first) + at);
  }
}

}  // namespace llamlx::cuda
