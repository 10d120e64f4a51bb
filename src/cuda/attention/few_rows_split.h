#pragma once

#include "cuda/attention/few_rows.h"
#include "cuda/attention/segment_access.h"
#include "cuda/attention/softmax.h"

namespace llamlx::cuda {

/// Which old positions the block of split `index` looks at. The last of the
/// splits that are used looks at the new rows too.
struct Split {
  int index;
  int used;
  int begin;
  int end;

  __device__ Split(const AttentionFewArgs& args, const SegmentView& segment,
                   int its_index, int most)
      : index(its_index) {
    const int first =
        args.window > 0 ? larger(0, segment.offset + 1 - args.window) : 0;
    const int old = segment.length > 0 ? larger(0, segment.offset - first) : 0;
    int length = old;
    used = 1;
    if (old > kMostUnsplit) {
      const int splits = smaller(most, old / kLeastSplit);
      length = ceil_divide(ceil_divide(old, splits), 32) * 32;
      used = ceil_divide(old, length);
    }
    begin = first + length * index;
    end = smaller(begin + length, first + old);
  }
  __device__ bool is_used() const { return index < used; }
  __device__ bool is_last() const { return index == used - 1; }
};

/// A stretch of a split's positions: tiles of kCount old ones each, and after
/// those of the last split one of the new rows.
struct TileOfSplit {
  int position;  ///< of the first
  int count;
  bool is_old;
};
template <int kCount>
struct SplitTiles {
  int old;
  int all;

  __device__ explicit SplitTiles(const Split& split)
      : old(ceil_divide(larger(0, split.end - split.begin), kCount)),
        all(old + (split.is_last() ? 1 : 0)) {}

  __device__ TileOfSplit tile(const Split& split, const SegmentView& segment,
                              int index) const {
    if (index >= old) return {segment.offset, segment.length, false};
    const int position = split.begin + index * kCount;
    return {position, smaller(kCount, split.end - position), true};
  }
};

/// Four columns of a split's part; with the first of them, what the part's
/// columns have in common.
__device__ inline void store_part(float* part, int head_dim, int col,
                                  const Floats4& sums, float largest,
                                  float weight) {
  *reinterpret_cast<Floats4*>(part + col) = sums;
  if (col == 0) {
    *reinterpret_cast<Floats4*>(part + head_dim) = {{largest, weight, 0, 0}};
  }
}

/// Four columns of the answer that the parts of all splits make, which follow
/// each other.
__device__ inline Floats4 join_parts(const float* parts, int splits,
                                     int head_dim, int col) {
  constexpr int kAtOnce = 8;
  float largest = kNoScore;
  float weight = 0;
  Floats4 total{};
  for (int first = 0; first < splits; first += kAtOnce) {
    Floats4 sums[kAtOnce];
    Floats4 its[kAtOnce];
    float most = largest;
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      sums[i] = {};
      its[i] = {{kNoScore, 0, 0, 0}};
      if (first + i >= splits) continue;
      const auto* part = parts + (first + i) * attention_part_floats(head_dim);
      sums[i] = load_fresh(reinterpret_cast<const Floats4*>(part + col));
      its[i] = load_fresh(reinterpret_cast<const Floats4*>(part + head_dim));
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) most = fmaxf(most, its[i].f[0]);
    const float correction = power_of_2(largest - most);
    largest = most;
    weight *= correction;
    for (auto& x : total.f) x *= correction;
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const float factor = power_of_2(its[i].f[0] - largest);
      weight = fmaf(its[i].f[1], factor, weight);
      for (int j = 0; j < 4; ++j) {
        total.f[j] = fmaf(sums[i].f[j], factor, total.f[j]);
      }
    }
  }
  const float by = 1 / weight;
  for (auto& x : total.f) x *= by;
  return total;
}

}  // namespace llamlx::cuda
