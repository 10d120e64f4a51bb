#pragma once

// What kernels of attention share, over struct Simd, which the file that
// includes this one has included before: the walk over the positions, the
// softmax, and the cache. See src/cpu/README.md.

#include "cpu/attention/attention.h"
#include "cpu/simd/simd_math.inl.h"

namespace llamlx {
namespace {

/// Positions that are scored, softened and summed at a time. Their keys and
/// values as float32 are 64 KiB where heads have 64 elements: of the second
/// cache, while the scores of a tile of rows stay in the first.
inline constexpr int kBlock = 128;

inline constexpr float kMinusInfinity = -__builtin_inff();

constexpr int smaller(int a, int b) { return a < b ? a : b; }
constexpr int larger(int a, int b) { return a > b ? a : b; }
constexpr int round_down(int n, int step) { return n / step * step; }
constexpr int round_up(int n, int step) {
  return round_down(n + step - 1, step);
}
/// Where a row of scores or weights begins.
constexpr std::ptrdiff_t scores_of(std::ptrdiff_t row) { return row * kBlock; }

/// Elements from one position's values to the next's.
constexpr int padded(int head_dim) { return round_up(head_dim, 16); }

/// How the numbers of a cache lie. They are read in pairs of vectors: of two
/// neighbouring elements of the keys, or of two positions of the values; dot()
/// adds to `sum` the pair times two numbers of a query, or two weights.
struct Floats {
  using Query = float;
  struct Pair {
    Simd::F even;
    Simd::F odd;
  };
  static Simd::F dot(const Query* two, Pair pair, Simd::F sum) {
    sum = Simd::fma(Simd::set1(two[0]), pair.even, sum);
    return Simd::fma(Simd::set1(two[1]), pair.odd, sum);
  }
};
struct F32Cache : Floats {
  using Value = float;
  static constexpr int kPair = 1;  // numbers of a pair that lie together
  static Pair load(const Value* p, int step) {
    return {Simd::load(p), Simd::load(p + step)};
  }
  static void store(Value* p, Simd::F a) { Simd::store(p, a); }
};
struct F16Cache : Floats {
  using Value = std::uint16_t;
  static constexpr int kPair = 2;
  static Pair load(const Value* p, int /*step*/) {
    Pair pair;
    Simd::load_f16_pairs(p, pair.even, pair.odd);
    return pair;
  }
  static void store(Value* p, Simd::F a) { Simd::store_f16(p, a); }
};
struct Bf16Cache : Floats {
  using Value = std::uint16_t;
  static constexpr int kPair = 2;
  static Pair load(const Value* p, int /*step*/) {
    Pair pair;
    Simd::load_bf16_pairs(p, pair.even, pair.odd);
    return pair;
  }
  static void store(Value* p, Simd::F a) { Simd::store_bf16(p, a); }
};

template <typename Work>
void with_cache(ValueType type, Work work) {
  if (type == ValueType::f32) {
    work(F32Cache{});
  } else if (type == ValueType::f16) {
    work(F16Cache{});
  } else {
    work(Bf16Cache{});
  }
}

template <typename Cache>
void append_row(const KVHead& head, int position, const float* k,
                const float* v) {
  using Value = typename Cache::Value;
  constexpr int kPair = Cache::kPair;
  const int width = padded(head.head_dim);
  Value* keys = static_cast<Value*>(head.keys) +
                static_cast<std::ptrdiff_t>(position / kKeyBlock) *
                    head.head_dim * kKeyBlock +
                position % kKeyBlock * kPair;
  Value* values =
      static_cast<Value*>(head.values) +
      static_cast<std::ptrdiff_t>(position / kPair) * width * kPair +
      position % kPair;
  for (int e = 0; e < width; e += Simd::kLanes) {
    Value rounded[2][Simd::kLanes];
    const int count = larger(0, head.head_dim - e);
    Cache::store(rounded[0], Simd::load_part(k + e, count));
    Cache::store(rounded[1], Simd::load_part(v + e, count));
    for (std::ptrdiff_t i = e; i < smaller(e + Simd::kLanes, head.head_dim);
         ++i) {
      keys[i / kPair * kKeyBlock * kPair + i % kPair] = rounded[0][i - e];
    }
    for (std::ptrdiff_t i = e; i < e + Simd::kLanes; ++i) {
      values[i * kPair] = rounded[1][i - e];
    }
  }
}

inline void append(const KVHead& head, int at, int count, const float* k,
                   const float* v, std::ptrdiff_t stride) {
  with_cache(head.type, [=](auto cache) {
    for (int i = 0; i < count; ++i) {
      append_row<decltype(cache)>(head, at + i, k + i * stride, v + i * stride);
    }
  });
}

/// Positions, in whole blocks of keys.
struct Range {
  int begin;
  int end;
};

/// What of [begin, end) some of these rows see, out to the borders of blocks of
/// keys; empty where they see nothing.
inline Range seen_by(const QueryRows& rows, int row, int count, int begin,
                     int end) {
  int low = end;
  int high = begin;
  for (int r = row; r < row + count; ++r) {
    const int first = larger(rows.first[r], begin);
    const int last = smaller(rows.end[r], end);
    if (first >= last) continue;
    low = smaller(low, first);
    high = larger(high, last);
  }
  if (low >= high) return {begin, begin};
  return {round_down(low, kKeyBlock), round_up(high, kKeyBlock)};
}

/// Scores of the positions of `range` that a row does not see become -infinity.
inline void mask(float* scores, Range range, int first, int end) {
  for (int j = range.begin; j < smaller(first, range.end); ++j) {
    scores[j - range.begin] = kMinusInfinity;
  }
  for (int j = larger(end, range.begin); j < range.end; ++j) {
    scores[j - range.begin] = kMinusInfinity;
  }
}

inline float largest_of(const float* scores, int count) {
  Simd::F largest = Simd::set1(kMinusInfinity);
  for (int j = 0; j < count; j += Simd::kLanes) {
    largest = Simd::max(Simd::load(scores + j), largest);
  }
  return Simd::largest(largest);
}

/// Scores to weights exp(score - largest); returns their sum. Where `largest`
/// is -infinity nothing was seen, and all become 0. A NaN stays one, whether
/// `largest` knows of it or not.
inline float soften(float* scores, int count, float largest) {
  const Simd::F shift = Simd::set1(largest == kMinusInfinity ? 0 : -largest);
  Simd::F sum = Simd::zero();
  for (int j = 0; j < count; j += Simd::kLanes) {
    const Simd::F weight = exp(Simd::add(Simd::load(scores + j), shift));
    Simd::store(scores + j, weight);
    sum = Simd::add(sum, weight);
  }
  return Simd::sum(sum);
}

/// A tile of rows meets a block of positions: their scores become weights, and
/// `factors` what the sums so far are to be multiplied by.
template <int tile_rows>
void soften_tile(const QueryRows& rows, int row, int count, Range range,
                 int end, const AttentionPart& part, float* scores,
                 float* factors) {
  const int length = range.end - range.begin;
  float drops[tile_rows + Simd::kLanes] = {};
  for (int r = 0; r < count; ++r) {
    float* of_row = scores + scores_of(r);
    mask(of_row, range, rows.first[row + r], smaller(rows.end[row + r], end));
    float& largest = part.largest[row + r];
    const float before = largest;
    const float here = largest_of(of_row, length);
    if (here > before) largest = here;
    drops[r] = before == kMinusInfinity ? before : before - largest;
  }
  for (int r = 0; r < count; r += Simd::kLanes) {
    Simd::store(factors + r, exp(Simd::load(drops + r)));
  }
  for (int r = 0; r < count; ++r) {
    const float sum =
        soften(scores + scores_of(r), length, part.largest[row + r]);
    part.sum[row + r] = part.sum[row + r] * factors[r] + sum;
  }
}

inline void clear(const AttentionPart& part, int rows, int head_dim) {
  for (std::ptrdiff_t r = 0; r < rows; ++r) {
    part.largest[r] = kMinusInfinity;
    part.sum[r] = 0;
    for (int e = 0; e < head_dim; ++e) part.out[r * part.stride + e] = 0;
  }
}

/// Attends block by block of positions, tile by tile of rows. A `Math` has
///   kRows                              rows of a tile
///   open(at, stop)                     before a block's positions are met
///   score(row, count, range, scores)   scores[r * kBlock + position]
///   weigh(row, count, range, weights, factors, part)
///                                      out = out * factor + weights values
/// Blocks lie on a grid from `begin`, so that what a row becomes does not
/// depend on the rows beside it.
template <typename Math>
void attend_by(Math& math, const QueryRows& rows, int head_dim, int begin,
               int end, const AttentionPart& part) {
  constexpr int kRows = Math::kRows;
  alignas(64) float scores[kRows * kBlock];
  alignas(64) float factors[kRows + Simd::kLanes];
  clear(part, rows.count, head_dim);
  const Range all = seen_by(rows, 0, rows.count, begin, end);
  for (int at = begin + round_down(all.begin - begin, kBlock); at < all.end;
       at += kBlock) {
    const int stop = smaller(at + kBlock, all.end);
    math.open(at, stop);
    for (int row = 0; row < rows.count; row += kRows) {
      const int count = smaller(kRows, rows.count - row);
      const Range range = seen_by(rows, row, count, at, smaller(stop, end));
      if (range.begin == range.end) continue;
      math.score(row, count, range, scores);
      soften_tile<kRows>(rows, row, count, range, end, part, scores, factors);
      math.weigh(row, count, range, scores, factors, part);
    }
  }
}

}  // namespace
}  // namespace llamlx
