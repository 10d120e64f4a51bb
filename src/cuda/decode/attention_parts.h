#pragma once

#include "cuda/attention/few_rows.h"
#include "cuda/attention/softmax.h"
#include "cuda/decode/decode.h"
#include "cuda/decode/exchange.h"

/// What splits of attention pass to each other. A split's part of a head is its
/// sums [Dh], their largest score, the sum of their weights, and two zeros.
/// Every split's part is written once a layer, by splits that are not used as
/// zeros that nobody reads: marks tell only what is new if all take turns.

namespace llamlx::cuda {

/// What a block has of attention.
struct AttentionUnit {
  int kv_head;
  int split;
  int head;       ///< of queries, the first
  int queries;    ///< up to kDecodeQueries
  bool is_first;  ///< of its key/value head's bundles

  __device__ AttentionUnit(const DecodeArgs& args, int unit) {
    const auto& cut = args.attention;
    split = cut.by_bundles.divide(unit);
    const int bundle = unit - split * cut.bundles;
    const int place = cut.by_kv_heads.divide(bundle);
    kv_head = bundle - place * args.num_kv_heads;
    const int first = place * kDecodeQueries;
    head = kv_head * cut.group + first;
    queries = smaller(kDecodeQueries, cut.group - first);
    is_first = place == 0;
  }
};

/// Sums of weighted values relative to their largest score, as logarithm to the
/// base 2, and of their weights.
struct AttentionSums {
  Floats4 values{};
  float largest = kNoScore;
  float weight = 0;

  __device__ void rescale(float factor) {
    weight *= factor;
    for (auto& x : values.f) x *= factor;
  }
  __device__ void add(const Floats4& its_values, float its_weight,
                      float factor) {
    weight = fmaf(its_weight, factor, weight);
    for (int i = 0; i < 4; ++i) {
      values.f[i] = fmaf(its_values.f[i], factor, values.f[i]);
    }
  }
  __device__ Floats4 answer() const {
    auto result = values;
    const float by = 1 / weight;
    for (auto& x : result.f) x *= by;
    return result;
  }
};

class AttentionParts {
 public:
  __device__ AttentionParts(const DecodeArgs& args, Mark mark)
      : args_(args), mark_(mark) {}

  /// Four columns of a head's answer.
  __device__ void publish_answer(int head, int col,
                                 const Floats4& values) const {
    publish(args_.exchange.attended + head * args_.head_dim + col, values,
            mark_);
  }
  /// Four columns of a split's part; with the first of them, what they have in
  /// common.
  __device__ void publish_part(int head, int split, int col,
                               const AttentionSums& sums) const {
    auto* to = part(head, split);
    publish(to + col, sums.values, mark_);
    if (col > 0) return;
    publish(to + args_.head_dim, Floats4{{sums.largest, sums.weight, 0, 0}},
            mark_);
  }
  /// Of a unit that has no part.
  __device__ void publish_nothing(const AttentionUnit& unit) const {
    const int query = thread_now() / kWarpSize;
    if (query >= unit.queries) return;
    for (int col = thread_now() % kWarpSize * 4; col <= args_.head_dim;
         col += kWarpSize * 4) {
      publish(part(unit.head + query, unit.split) + col, Floats4{}, mark_);
    }
  }

  /// Publishes this unit's share of its bundle's answers, when so many splits'
  /// parts have come.
  __device__ void join(const AttentionUnit& unit, int splits) const {
    const auto& cut = args_.attention;
    const int i = thread_now();
    const int quad = unit.split * cut.share + i;
    const int query = cut.by_quads.divide(quad);
    if (i >= cut.share || query >= unit.queries) return;
    const int head = unit.head + query;
    const int col = quad * 4 - query * args_.head_dim;
    publish_answer(head, col, join_quad(head, col, splits).answer());
  }

 private:
  static constexpr int kAtOnce = 8;

  const DecodeArgs& args_;
  Mark mark_;

  __device__ float* part(int head, int split) const {
    return args_.exchange.parts + (head * args_.attention.splits + split) *
                                      attention_part_floats(args_.head_dim);
  }

  /// Of splits, in their order.
  __device__ AttentionSums join_quad(int head, int col, int splits) const {
    AttentionSums result;
    if (splits <= kAtOnce / 2) {
      add_parts<kAtOnce / 2>(part(head, 0), col, splits, result);
      return result;
    }
#pragma unroll 1
    for (int first = 0; first < splits; first += kAtOnce) {
      add_parts<kAtOnce>(part(head, first), col, splits - first, result);
    }
    return result;
  }
  /// Up to kCount parts that follow each other, all asked for at once. Those
  /// past the last are the last, and weigh nothing.
  template <int kCount>
  __device__ void add_parts(const float* from, int col, int count,
                            AttentionSums& result) const {
    const float* its[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      its[i] =
          from + smaller(i, count - 1) * attention_part_floats(args_.head_dim);
    }
    Words4 values[kCount];
    Words2 others[kCount];
    while (true) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        values[i] =
            load_shared_word(reinterpret_cast<const Words4*>(its[i] + col));
        others[i] = load_shared_word(
            reinterpret_cast<const Words2*>(its[i] + args_.head_dim));
      }
      bool have_come = true;
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        have_come = have_come && have_mark(values[i], mark_) &&
                    have_mark(others[i], mark_);
      }
      if (have_come) break;
      look_again();
    }
    float most = result.largest;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      most = fmaxf(most, __uint_as_float(others[i].w[0]));
    }
    result.rescale(power_of_2(result.largest - most));
    result.largest = most;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const auto& w = values[i].w;
      const float factor = power_of_2(__uint_as_float(others[i].w[0]) - most);
      result.add({{__uint_as_float(w[0]), __uint_as_float(w[1]),
                   __uint_as_float(w[2]), __uint_as_float(w[3])}},
                 __uint_as_float(others[i].w[1]), i < count ? factor : 0);
    }
  }
};

}  // namespace llamlx::cuda
