#pragma once

#include "cuda/attention/few_rows.h"
#include "cuda/attention/few_rows_split.h"
#include "cuda/attention/few_rows_stream.h"
#include "cuda/attention/few_rows_stream_f32.h"
#include "cuda/attention/few_rows_stream_q8.h"
#include "cuda/attention/few_rows_tile.h"
#include "cuda/attention/rounded_head.h"
#include "cuda/attention/segment_access.h"
#include "cuda/attention/softmax.h"
#include "cuda/attention/turned_head.h"
#include "cuda/matmul/stage_quad.h"

// What a block of few_rows.cu does.
namespace llamlx::cuda {

inline constexpr int kAttentionFewWarps = kAttentionFewThreads / kWarpSize;
inline constexpr int kTileQueries = 8;  // what a warp looks for at once

/// The block's shared memory.
template <typename T, int kDim>
struct FewSpace {
  static constexpr int kStride = attention_few_stride(kDim);
  static constexpr auto kType = number_type(T{});
  static constexpr int kSize = cached_number_bytes(kType);
  static constexpr int kQueryBytes = kStride * 4;
  static constexpr int kLookers = attention_few_lookers(kDim);
  static constexpr int kTiles = attention_few_queries(kDim) / kTileQueries;
  /// Before the rows of each tile of keys or values.
  static constexpr int kScaleBytes = attention_few_scale_bytes(kType, kDim);
  static constexpr int kHalfBytes = attention_few_half_bytes(kType, kDim);
  /// Of the tiles that a looker has asked for.
  static constexpr int kRingBytes = kAttentionFewAhead * 2 * kHalfBytes;
  static constexpr int kNewBytes = kAttentionFewRows * kDim * kSize;

  unsigned char* rings;  // [kLookers] of kRingBytes; sums, when all is seen
  unsigned char* keys;   // of new rows, a SharedTile
  unsigned char* values;
  unsigned char* queries;  // [kTiles * 8] of kQueryBytes
  float* statistics;       // [kLookers][8][2]
  unsigned* ticket;
  float* scores;  // of float32's warps

  __device__ FewSpace()
      : rings(shared_memory()),
        keys(rings + kLookers * kRingBytes + kScaleBytes),
        values(keys + kNewBytes + kScaleBytes),
        queries(values + kNewBytes),
        statistics(reinterpret_cast<float*>(queries + kTiles * kTileQueries *
                                                          kQueryBytes)),
        ticket(reinterpret_cast<unsigned*>(statistics + kLookers * 8 * 2)),
        scores(reinterpret_cast<float*>(ticket + 4)) {}
};

/// Tiles of queries that are taken at once, and which of them is whose: 1, 2
/// or 4 tiles, the positions of each of which so many warps share.
struct Round {
  int first;  ///< query
  int shift;  ///< of 2: tiles
  int streams;
  int tile;  ///< of this warp
  int stream;
  bool is_busy;

  __device__ Round(int first_query, int queries, int lookers, int warp)
      : first(first_query),
        shift(queries - first <= kTileQueries       ? 0
              : queries - first <= 2 * kTileQueries ? 1
                                                    : 2),
        streams(lookers >> shift),
        tile(warp & ((1 << shift) - 1)),
        stream(warp >> shift),
        is_busy(stream < streams && first + tile * kTileQueries < queries) {}
};

/// Divides small numbers by one that is divided by often: queries of rows by a
/// group of up to 512.
class SmallDivider {
 public:
  __device__ explicit SmallDivider(int by) : factor_((1 << 22) / by + 1) {}
  __device__ int divide(int n) const { return n * factor_ >> 22; }

 private:
  int factor_;
};

/// Where an answer's columns lie.
__device__ inline Floats4* answer(const AttentionFewArgs& args, int row,
                                  int col) {
  const long long width = args.num_heads * args.head_dim;
  return reinterpret_cast<Floats4*>(args.out + row * width + col);
}

/// The queries of one key/value head of a segment: number v is of row
/// v / group, head v % group.
///
/// Before a block waits for its predecessor it asks for the first positions,
/// and for what turns its heads. Then warps each turn a query or a new row, and
/// look at positions of their own; the block adds up what they have.
template <typename T, int kDim>
class FewAttention {
 public:
  __device__ FewAttention(const AttentionFewArgs& args,
                          const SegmentView& segment, const Split& split)
      : args_(args),
        segment_(segment),
        split_(split),
        tiles_(split),
        cache_(segment, args.layer, args.num_kv_heads, kv_head(),
               args.head_dim),
        warp_(thread() / kWarpSize),
        lane_(thread() % kWarpSize),
        group_(args.num_heads / args.num_kv_heads),
        by_group_(group_),
        scale_(kLog2E * rsqrtf(static_cast<float>(args.head_dim))),
        queries_(group_ * segment.length),
        head_({args.head_dim, args.traditional}, lane_) {}

  /// Asks for what is there before the predecessor has ended.
  __device__ void ask() {
    if (queries_ == 0) return;
    const auto first = round(0);
    ask_first(first);
    if (warp_ < jobs(first)) prepare(job(first, warp_));
    bring_split_near(first);
  }

  __device__ void run() {
#pragma unroll 1
    for (int first = 0; first < queries_; first += kRoundQueries) {
      run_round(round(first));
    }
    if (split_.used > 1 && is_last_to_arrive()) join();
  }

 private:
  using Space = FewSpace<T, kDim>;
  using Looker = Stream<T, kDim>;
  using Tile = typename Looker::Tile;
  static constexpr int kRoundQueries = Space::kTiles * kTileQueries;
  static constexpr int kQuads = kDim / 4;
  static constexpr bool kIsRounded = Space::kScaleBytes > 0;
  // Batches of copies that may be on their way when the oldest is needed.
  static constexpr int kOnTheirWay = 2 * kAttentionFewAhead - 1;

  const AttentionFewArgs& args_;
  const SegmentView& segment_;
  const Split& split_;
  SplitTiles<Looker::kPositions> tiles_;
  CachedHead<T> cache_;
  Space space_;
  int warp_;
  int lane_;
  int group_;
  SmallDivider by_group_;
  float scale_;  // of queries
  int queries_;
  TurnedHead<kDim> head_;
  AskedScales<Tile> asked_[2];  // of keys and of values

  __device__ static int thread() { return static_cast<int>(threadIdx.x); }
  __device__ static int kv_head() { return static_cast<int>(blockIdx.x); }

  __device__ Round round(int first) const {
    const int queries = smaller(queries_, first + kRoundQueries);
    return {first, queries, Space::kLookers, warp_};
  }
  __device__ int row_of(int query) const { return by_group_.divide(query); }
  __device__ const float* cos_sin(int row) const {
    return args_.cos_sin +
           static_cast<long long>(segment_.first_row + row) * args_.head_dim;
  }
  /// Head `head` of queries, keys and values together.
  __device__ const float* projected(int row, int head) const {
    const long long heads = args_.num_heads + 2 * args_.num_kv_heads;
    return args_.qkv +
           ((segment_.first_row + row) * heads + head) * args_.head_dim;
  }
  __device__ int query_head(int query) const {
    return kv_head() * group_ + query - row_of(query) * group_;
  }
  /// Four columns of a query's answer, if they are there: by a whole warp, of
  /// which 16 lanes have 64 columns that follow each other.
  __device__ void store(int query, int col, bool is_there,
                        const Floats4& values) const {
    const int row = segment_.first_row + row_of(query);
    const int at = query_head(query) * args_.head_dim + col;
    if (args_.next.bytes == nullptr) {
      if (is_there) *answer(args_, row, at) = values;
    } else if (args_.next_type == NumberType::bf16) {
      write_quad<Bf16>(args_.next, row, at, is_there, values);
    } else {
      write_quad<F16>(args_.next, row, at, is_there, values);
    }
  }
  __device__ float* part(int query, int split) const {
    const long long row = segment_.first_row + row_of(query);
    const long long at = row * args_.num_heads + query_head(query);
    return args_.parts + (at * static_cast<int>(gridDim.y) + split) *
                             attention_part_floats(args_.head_dim);
  }

  __device__ void run_round(const Round& round) {
    if (round.first > 0) {
      __syncthreads();
      ask_first(round);
    }
    turn_heads(round);
    __syncthreads();
    if (round.is_busy) {
      const int first = round.first + round.tile * kTileQueries;
      Looker work(
          space_.queries + round.tile * kTileQueries * Space::kQueryBytes,
          scores(), queries_ - first, lane_);
      RunningSoftmax softmax;
      work.load_queries();
      look(work, softmax, round, segment_.offset + row_of(first + lane_ / 4));
      write_sums(work, softmax);
    }
    __syncthreads();
    merge(round);
  }

  __device__ float* scores() const {
    if constexpr (Space::kSize == 4) {
      return space_.scores + warp_ * kScoreFloats;
    }
    return nullptr;
  }

  /// Keys (0) or values (1) of this warp's tile number `slot`.
  __device__ unsigned char* ring(int slot, int kind) const {
    return space_.rings + warp_ * Space::kRingBytes +
           (2 * slot + kind) * Space::kHalfBytes + Space::kScaleBytes;
  }
  /// Begins to copy keys or values of a tile, if it is an old one; it is a
  /// batch in any case.
  __device__ void ask(int index, int slot, int kind) {
    if (index < tiles_.old) {
      const auto tile = tiles_.tile(split_, segment_, index);
      const auto at = static_cast<long long>(tile.position) * cache_.row_bytes;
      const Tile to{ring(slot, kind), tile.count};
      ask_tile<Looker::kPositions>(
          to, (kind == 0 ? cache_.keys : cache_.values) + at, cache_.row_bytes,
          lane_);
      if constexpr (kIsRounded) {
        asked_[kind].ask(to, cache_.scales(kind == 0, tile.position),
                         cache_.row_scales, lane_);
      }
    }
    commit_copies();
  }
  __device__ void ask_first(const Round& round) {
    if (!round.is_busy) return;
#pragma unroll
    for (int i = 0; i < kAttentionFewAhead; ++i) {
      ask(round.stream + i * round.streams, i, 0);
      ask(round.stream + i * round.streams, i, 1);
    }
  }
  /// Brings what follows those nearer.
  __device__ void bring_split_near(const Round& round) const {
    const int asked = kAttentionFewAhead * round.streams * Looker::kPositions;
    const int first = split_.begin + asked;
    bring_positions_near(cache_, first, split_.end, thread(),
                         kAttentionFewThreads);
  }

  /// A head to turn: a query, or with the round's first ones and in the last
  /// split a key or value of a new row.
  enum class Kind { query, key, value };
  struct Job {
    Kind kind;
    int index;  // of the round's queries, or of the new rows
    int row;
    int head;  // of queries, keys and values together
  };
  __device__ int queries_of(const Round& round) const {
    return smaller(kRoundQueries, queries_ - round.first);
  }
  __device__ int jobs(const Round& round) const {
    const bool appends = round.first == 0 && split_.is_last();
    return queries_of(round) + (appends ? 2 * segment_.length : 0);
  }
  __device__ Job job(const Round& round, int index) const {
    const int more = index - queries_of(round);
    if (more < 0) {
      const int query = round.first + index;
      return {Kind::query, index, row_of(query), query_head(query)};
    }
    const int head = args_.num_heads + kv_head();
    if (more % 2 == 0) return {Kind::key, more / 2, more / 2, head};
    return {Kind::value, more / 2, more / 2, head + args_.num_kv_heads};
  }
  __device__ void prepare(const Job& job) {
    if (job.kind == Kind::value) return;
    head_.prepare(job.kind == Kind::query ? args_.q_norm : args_.k_norm,
                  cos_sin(job.row));
  }
  /// Norms and turns them, a warp each.
  __device__ void turn_heads(const Round& round) {
#pragma unroll 1
    for (int i = warp_; i < jobs(round); i += kAttentionFewWarps) {
      const auto one = job(round, i);
      if (round.first > 0 || i != warp_) prepare(one);
      head_.load(projected(one.row, one.head));
      if (one.kind != Kind::value) {
        head_.turn(args_.eps, one.kind == Kind::query ? scale_ : 1);
      }
      if (one.kind == Kind::query) {
        keep_query(space_.queries + one.index * Space::kQueryBytes);
      } else if constexpr (kIsRounded) {
        append_rounded(one);
      } else {
        append(one);
      }
    }
  }

  __device__ void keep_query(unsigned char* to) const {
    head_.store([&](int at, float x, float y) { store_query(to, at, x, y); });
    for (int at = args_.head_dim + 2 * lane_; at < kDim; at += 2 * kWarpSize) {
      store_query(to, at, 0, 0);
    }
  }
  __device__ static void store_query(unsigned char* to, int at, float x,
                                     float y) {
    using Operand = typename Looker::Operand;
    if constexpr (Space::kSize == 4) {
      store_duo(F32{}, to + 4 * at, x, y);
    } else {
      const auto word = pack(Operand{}, x, y);
      *reinterpret_cast<Words2*>(to + 4 * at) = {
          {word, pack_rest(Operand{}, x, y, word)}};
    }
  }

  __device__ Tile new_rows(int kind) const {
    return {kind == 0 ? space_.keys : space_.values, segment_.length};
  }
  /// The key or value of a new row, to the cache and to where this block finds
  /// it.
  __device__ void append(const Job& job) const {
    const bool is_key = job.kind == Kind::key;
    auto* cached =
        (is_key ? cache_.keys : cache_.values) +
        static_cast<long long>(segment_.offset + job.row) * cache_.row_bytes;
    const auto tile = new_rows(is_key ? 0 : 1);
    const auto keep = [&](int at, float x, float y) {
      const int byte = at * Space::kSize;
      store_duo(T{}, tile.piece(job.row, byte / 16) + byte % 16, x, y);
    };
    head_.store([&](int at, float x, float y) {
      store_duo(T{}, cached + at * Space::kSize, x, y);
      keep(at, x, y);
    });
    for (int at = args_.head_dim + 2 * lane_; at < kDim; at += 2 * kWarpSize) {
      keep(at, 0, 0);
    }
  }

  /// The same in 8 bits.
  __device__ void append_rounded(const Job& job) const {
    const bool is_key = job.kind == Kind::key;
    const int position = segment_.offset + job.row;
    const auto tile = new_rows(is_key ? 0 : 1);
    const RoundedHead<kDim> rounded(head_);
    store_rounded(head_, rounded, cache_.codes(is_key, position),
                  cache_.scales(is_key, position), cache_.row_scales, lane_);
    head_.store([&](int at, float x, float y) {
      auto* to = tile.piece(job.row, at / 16) + at % 16;
      *reinterpret_cast<std::uint16_t*>(to) = rounded.codes(at, x, y);
    });
    // The last does it for those that are not there.
    const bool is_its = lane_ == job.row;
    const bool is_behind = job.row + 1 == segment_.length && lane_ > job.row;
    rounded.store_scales([&](int group, float scale) {
      if (is_its || is_behind) *tile.scale(group, lane_) = is_its ? scale : 0;
    });
  }

  /// Waits for keys (0) or values (1) of a tile.
  __device__ void wait_for(const TileOfSplit& tile, int slot, int kind) const {
    wait_for_copies<kOnTheirWay>();
    if constexpr (kIsRounded) {
      static_assert(kAttentionFewAhead == 1);
      if (tile.is_old) {
        asked_[kind].put({ring(slot, kind), tile.count}, lane_);
      }
    }
    __syncwarp();
  }

  /// Looks at this warp's tiles, for queries of which this lane's is at
  /// position `at`.
  __device__ void look(Looker& work, RunningSoftmax& softmax,
                       const Round& round, int at) {
    int slot = 0;
    for (int i = round.stream; i < tiles_.all; i += round.streams) {
      const auto tile = tiles_.tile(split_, segment_, i);
      const int ahead = i + kAttentionFewAhead * round.streams;
      float s[Looker::kPositions / 4];
      wait_for(tile, slot, 0);
      work.score(tile.is_old ? Tile{ring(slot, 0), tile.count} : new_rows(0),
                 s);
      __syncwarp();
      ask(ahead, slot, 0);
      hide(s, tile, at);
      const float correction = softmax.weigh(s, Looker::kLift);
      wait_for(tile, slot, 1);
      work.accumulate(
          tile.is_old ? Tile{ring(slot, 1), tile.count} : new_rows(1), s,
          correction);
      __syncwarp();
      ask(ahead, slot, 1);
      slot = (slot + 1) % kAttentionFewAhead;
    }
  }
  /// Scores of positions that a query at `at` does not see are -infinity.
  __device__ void hide(float (&s)[Looker::kPositions / 4],
                       const TileOfSplit& tile, int at) const {
    const int from = lane_ % 4 * 2 + tile.position;
    const int first = (args_.window > 0 ? at - args_.window + 1 : 0) - from;
    const int last = smaller(at, tile.position + tile.count - 1) - from;
#pragma unroll
    for (int i = 0; i < Looker::kPositions / 4; ++i) {
      const int index = i / 2 * 8 + i % 2;
      if (index < first || index > last) s[i] = -INFINITY;
    }
  }

  /// What a warp has summed up lies where its tiles were.
  __device__ float* sums(int warp) const {
    return reinterpret_cast<float*>(space_.rings + warp * Space::kRingBytes);
  }
  __device__ float* statistics(int warp, int query) const {
    return space_.statistics + (warp * kTileQueries + query) * 2;
  }
  __device__ void write_sums(const Looker& work,
                             const RunningSoftmax& softmax) const {
    work.write(sums(warp_));
    const float sum = quad_sum(softmax.sum);
    if (lane_ % 4 != 0) return;
    auto* to = statistics(warp_, lane_ / 4);
    to[0] = softmax.largest;
    to[1] = sum;
  }

  /// Adds up what the streams of each tile have, in their order.
  __device__ void merge(const Round& round) const {
    for_each_quad(queries_of(round), [&](int query, int col, bool is_there) {
      Floats4 answer{};
      if (is_there) answer = merge_quad(round, query, col);
      if (split_.used == 1) store(round.first + query, col, is_there, answer);
    });
  }
  /// Four columns of each of so many queries, for all lanes of a warp together.
  template <typename Do>
  __device__ void for_each_quad(int queries, const Do& act) const {
#pragma unroll 1
    for (int first = thread() - lane_; first < queries * kQuads;
         first += kAttentionFewThreads) {
      const int item = first + lane_;
      const int col = item % kQuads * 4;
      act(item / kQuads, col, item < queries * kQuads && col < args_.head_dim);
    }
  }
  /// The answer, if it is all there: else this split's part of it is written.
  __device__ Floats4 merge_quad(const Round& round, int query, int col) const {
    const int of_tile = query % kTileQueries;
    Floats4 its[Space::kLookers];
    float factors[Space::kLookers];
    float weights[Space::kLookers];
    float largest = kNoScore;
#pragma unroll
    for (int i = 0; i < Space::kLookers; ++i) {
      const bool is_there = i < round.streams;
      const int warp =
          query / kTileQueries + ((is_there ? i : 0) << round.shift);
      const auto* those = statistics(warp, of_tile);
      factors[i] = is_there ? those[0] : kNoScore;
      weights[i] = is_there ? those[1] : 0;
      its[i] = *reinterpret_cast<const Floats4*>(
          sums(warp) + of_tile * kSumsStride<kDim> + col);
      largest = fmaxf(largest, factors[i]);
    }
    Floats4 total{};
    float weight = 0;
#pragma unroll
    for (int i = 0; i < Space::kLookers; ++i) {
      const float factor = power_of_2(factors[i] - largest);
      for (int j = 0; j < 4; ++j) {
        total.f[j] = fmaf(its[i].f[j], factor, total.f[j]);
      }
      weight = fmaf(weights[i], factor, weight);
    }
    if (split_.used > 1) {
      store_part(part(round.first + query, split_.index), args_.head_dim, col,
                 total, largest, weight);
      return {};
    }
    const float by = 1 / weight;
    for (auto& x : total.f) x *= by;
    return total;
  }

  /// Whether all other splits of this segment and head have written their
  /// parts.
  __device__ bool is_last_to_arrive() const {
    auto* counter = args_.counters +
                    static_cast<int>(blockIdx.z) * args_.num_kv_heads +
                    kv_head();
    const auto last = static_cast<unsigned>(split_.used - 1);
    __syncthreads();
    if (thread() == 0) {
      *space_.ticket = count_arrival(counter);
      if (*space_.ticket == last) *counter = 0;
    }
    __syncthreads();
    return *space_.ticket == last;
  }

  /// Adds up what all splits have, in their order.
  __device__ void join() const {
    for_each_quad(queries_, [&](int query, int col, bool is_there) {
      Floats4 answer{};
      if (is_there) {
        answer = join_parts(part(query, 0), split_.used, args_.head_dim, col);
      }
      store(query, col, is_there, answer);
    });
  }
};

}  // namespace llamlx::cuda
