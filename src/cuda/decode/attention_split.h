#pragma once

#include "cuda/attention/segment_access.h"
#include "cuda/attention/turned_head.h"
#include "cuda/decode/attention_parts.h"
#include "cuda/decode/attention_tile.h"
#include "cuda/decode/copy_once.h"
#include "cuda/decode/warps.h"

namespace llamlx::cuda {

/// cos and sin, as DecodeArgs has them: where threads find theirs at once.
__device__ inline float* decode_turns() {
  return reinterpret_cast<float*>(shared_memory() + DecodeMemory::kTurns);
}

/// Which positions a split looks at.
struct SplitPositions {
  int begin;
  int count;
  bool has_new;  ///< the last of them

  __device__ SplitPositions(const DecodeSpan& span, int split, int position)
      : begin(span.first + split * span.length),
        count(smaller(span.length, position + 1 - begin)),
        has_new(split == span.used - 1) {}

  __device__ int old() const { return has_new ? count - 1 : count; }
};

/// What a block does for a unit that has positions.
///
/// Warps each turn a query, or the new key or value, and look at positions of
/// their own; the block adds up what they have. A warp asks for its first
/// positions when it has turned its head: what it waits for would come behind
/// them.
template <typename T, int kDim>
class SplitAttention {
 public:
  __device__ SplitAttention(const DecodeArgs& args, const DecodeLayer& layer,
                            const AttentionUnit& unit,
                            const SplitPositions& positions,
                            const CachedHead<T>& cache)
      : args_(args),
        layer_(layer),
        unit_(unit),
        positions_(positions),
        cache_(cache),
        warp_(warp_now()),
        lane_(static_cast<int>(lane_now())),
        head_({args.head_dim, args.traditional}, lane_),
        tile_(cache.row_bytes, lane_) {}

  /// Publishes answers, if nothing else is added, or else this split's part.
  __device__ void run(Mark mark, bool is_all) {
    tile_.clear();
    bring_tile_near(warp_ + kDecodeWarps);
    turn_heads(mark);
    ask_keys(warp_);
    ask_values(warp_);
    __syncthreads();
    look();
    __syncthreads();
    merge(AttentionParts(args_, mark), mark, is_all);
    __syncthreads();
  }

 private:
  using Tile = AttentionTile<T, kDim>;
  static constexpr int kQueryBytes = attention_few_stride(kDim) * 4;
  static constexpr int kRowBytes = kDim * 2;

  const DecodeArgs& args_;
  const DecodeLayer& layer_;
  const AttentionUnit& unit_;
  const SplitPositions& positions_;
  const CachedHead<T>& cache_;
  int warp_;
  int lane_;
  TurnedHead<kDim> head_;
  Tile tile_;

  // The block's shared memory: queries, the new key and value, of each warp and
  // query two statistics, and sums.
  __device__ unsigned char* query(int i) const {
    return shared_memory() + DecodeMemory::kInput + i * kQueryBytes;
  }
  __device__ unsigned char* new_key() const { return query(unit_.queries); }
  __device__ unsigned char* new_value() const { return new_key() + kRowBytes; }
  __device__ float* statistics(int warp, int query) const {
    return reinterpret_cast<float*>(new_value() + kRowBytes) +
           (warp * unit_.queries + query) * 2;
  }
  /// Quads change places, so that those that a warp writes at once hit all
  /// banks.
  __device__ Floats4* sums(int warp, int query, int quad) const {
    auto* all = reinterpret_cast<Floats4*>(statistics(kDecodeWarps, 0));
    const int turn = (query >> 1 & 1) | (query & 4);
    return all + (warp * unit_.queries + query) * (kDim / 4) + (quad ^ turn);
  }

  /// Old positions of the warps' tile with this number; where they begin.
  __device__ int old_of(int index) const {
    return smaller(Tile::kPositions,
                   positions_.old() - index * Tile::kPositions);
  }
  __device__ long long byte_of(int index) const {
    return static_cast<long long>(positions_.begin + index * Tile::kPositions) *
           cache_.row_bytes;
  }
  __device__ void ask_keys(int index) {
    const int old = old_of(index);
    if (old > 0) tile_.ask_keys(cache_.keys + byte_of(index), old - 1);
  }
  __device__ void ask_values(int index) {
    const int old = old_of(index);
    if (old > 0) tile_.ask_values(cache_.values + byte_of(index), old - 1);
  }

  /// Of the tile that is asked for after the next.
  __device__ void bring_tile_near(int index) const {
    const int old = old_of(index);
    if (old <= 0) return;
    bring_bytes_near(cache_.keys + byte_of(index), old * cache_.row_bytes);
    bring_bytes_near(cache_.values + byte_of(index), old * cache_.row_bytes);
  }

  /// Heads to turn: queries, and in the last split the new key and value.
  __device__ int jobs() const {
    return unit_.queries + (positions_.has_new ? 2 : 0);
  }
  __device__ int key_job() const { return unit_.queries; }
  /// Of queries, keys and values together.
  __device__ int head_of(int job) const {
    if (job < key_job()) return unit_.head + job;
    const int key = args_.num_heads + unit_.kv_head;
    return job == key_job() ? key : key + args_.num_kv_heads;
  }
  __device__ void prepare(int job) {
    if (job > key_job()) return;
    head_.prepare(
        job < key_job() ? layer_.q_norm : layer_.k_norm, decode_turns(),
        [](const float* p) {
          const auto words = *reinterpret_cast<const Words2*>(p);
          return Duo{__uint_as_float(words.w[0]), __uint_as_float(words.w[1])};
        });
  }
  /// Norms and turns them, a warp each.
  __device__ void turn_heads(Mark mark) {
#pragma unroll 1
    for (int job = warp_; job < jobs(); job += kDecodeWarps) {
      prepare(job);
      head_.load_pairs(args_.exchange.qkv + head_of(job) * args_.head_dim,
                       [&](const float* low, const float* high, Duo& x,
                           Duo& y) { await_pair(low, high, mark, x, y); });
      if (job <= key_job()) {
        const float scale = kLog2E * rsqrtf(static_cast<float>(args_.head_dim));
        head_.turn(args_.eps, job < key_job() ? scale : 1);
      }
      if (job < key_job()) {
        keep_query(query(job));
      } else {
        append(job == key_job());
      }
    }
  }
  __device__ static void await_pair(const float* low, const float* high,
                                    Mark mark, Duo& x, Duo& y) {
    const auto look = [](const float* from) {
      return load_shared_word(reinterpret_cast<const Words2*>(from));
    };
    auto a = look(low);
    auto b = look(high);
    while (!have_mark(a, mark) || !have_mark(b, mark)) {
      look_again();
      a = look(low);
      b = look(high);
    }
    x = {__uint_as_float(a.w[0]), __uint_as_float(a.w[1])};
    y = {__uint_as_float(b.w[0]), __uint_as_float(b.w[1])};
  }
  __device__ void keep_query(unsigned char* to) const {
    const auto keep = [&](int at, float x, float y) {
      const auto word = pack(T{}, x, y);
      *reinterpret_cast<Words2*>(to +
                                 4 * at) = {{word, pack_rest(T{}, x, y, word)}};
    };
    head_.store(keep);
#pragma unroll 1
    for (int at = args_.head_dim + 2 * lane_; at < kDim; at += 2 * kWarpSize) {
      keep(at, 0, 0);
    }
  }
  /// The new key or value: to where this block finds it, and once to the cache.
  __device__ void append(bool is_key) const {
    auto* kept = is_key ? new_key() : new_value();
    auto* cached =
        (is_key ? cache_.keys : cache_.values) +
        static_cast<long long>(args_.segment.offset) * cache_.row_bytes;
    head_.store([&](int at, float x, float y) {
      store_duo(T{}, kept + 2 * at, x, y);
      if (unit_.is_first) store_duo(T{}, cached + 2 * at, x, y);
    });
  }

  /// Looks at this warp's tiles of positions, and leaves what it sums up, which
  /// is nothing if it has none.
  __device__ void look() {
    RunningSoftmax softmax;
    int left = positions_.count - warp_ * Tile::kPositions;
#pragma unroll 1
    for (int index = warp_; left > 0; index += kDecodeWarps) {
      const bool has_new = positions_.has_new && left <= Tile::kPositions;
      float s[Tile::kScores];
      if (has_new) tile_.put_key(new_key(), left - 1);
      tile_.score(query(0), unit_.queries, s);
      ask_keys(index + kDecodeWarps);
      bring_tile_near(index + 2 * kDecodeWarps);
      if (has_new) tile_.hide(s, left - 1);
      const float correction = softmax.weigh(s, Tile::kLift);
      if (index != warp_) tile_.rescale(correction);
      if (has_new) tile_.put_value(new_value(), left - 1);
      tile_.accumulate(s);
      ask_values(index + kDecodeWarps);
      left -= kDecodeWarps * Tile::kPositions;
    }
    tile_.write(unit_.queries,
                [&](int query, int quad) { return sums(warp_, query, quad); });
    const float weight = quad_sum(softmax.sum);
    if (lane_ % 4 != 0 || lane_ / 4 >= unit_.queries) return;
    auto* to = statistics(warp_, lane_ / 4);
    to[0] = softmax.largest;
    to[1] = weight;
  }

  /// Adds up what warps have, in their order: of a query by a warp.
  __device__ void merge(const AttentionParts& parts, Mark mark,
                        bool is_all) const {
    const int col = 4 * lane_;
    if (warp_ >= unit_.queries || col >= args_.head_dim) return;
    const auto sums = merge_quad(mark);
    const int head = unit_.head + warp_;
    if (is_all) {
      parts.publish_answer(head, col, sums.answer());
    } else {
      parts.publish_part(head, unit_.split, col, sums);
    }
  }
  __device__ AttentionSums merge_quad(Mark mark) const {
    Floats4 its[kDecodeWarps];
    Words2 others[kDecodeWarps];
    AttentionSums result;
#pragma unroll
    for (int i = 0; i < kDecodeWarps; ++i) {
      others[i] = *reinterpret_cast<const Words2*>(statistics(i, warp_));
      its[i] = *sums(i, warp_, lane_);
      result.largest = fmaxf(result.largest, __uint_as_float(others[i].w[0]));
    }
    // What is passed on is what sums are relative to.
    result.largest =
        __uint_as_float(marked(__float_as_uint(result.largest), mark));
#pragma unroll
    for (int i = 0; i < kDecodeWarps; ++i) {
      result.add(its[i], __uint_as_float(others[i].w[1]),
                 power_of_2(__uint_as_float(others[i].w[0]) - result.largest));
    }
    return result;
  }
};

}  // namespace llamlx::cuda
