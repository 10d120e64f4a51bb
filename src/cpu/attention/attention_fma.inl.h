#pragma once

// Attention by products and sums in float32, for every type of cache; over
// struct Simd and struct Shape, as attention_tiles.inl.h.

#include "cpu/attention/attention_tiles.inl.h"

namespace llamlx {
namespace {

/// Keys and values of the positions [at, stop) as float32.
template <typename Cache>
void widen(const KVHead& head, int at, int stop, float* keys, float* values) {
  using Value = typename Cache::Value;
  constexpr int kLanes = Simd::kLanes;
  const std::ptrdiff_t start = at;
  const auto* from = static_cast<const Value*>(head.keys);
  from += start * head.head_dim;
  for (std::ptrdiff_t j = 0; j < stop - at; j += kKeyBlock) {
    for (std::ptrdiff_t d = 0; d < head.head_dim; d += 2) {
      const std::ptrdiff_t offset = j * head.head_dim + d * kKeyBlock;
      for (int lane = 0; lane < kKeyBlock; lane += kLanes) {
        const auto pair =
            Cache::load(from + offset + lane * Cache::kPair, kKeyBlock);
        Simd::store(keys + offset + lane, pair.even);
        Simd::store(keys + offset + kKeyBlock + lane, pair.odd);
      }
    }
  }
  const int step = padded(head.head_dim);
  from = static_cast<const Value*>(head.values) + start * step;
  for (std::ptrdiff_t j = 0; j < stop - at; j += 2) {
    for (int e = 0; e < step; e += kLanes) {
      const auto pair = Cache::load(from + j * step + e * Cache::kPair, step);
      Simd::store(values + j * step + e, pair.even);
      Simd::store(values + (j + 1) * step + e, pair.odd);
    }
  }
}

/// Reads the cache as it lies: for one tile of rows, for which each number is
/// converted once anyway.
template <typename Cache>
struct DirectMath {
  static constexpr int kRows = Shape::kRows;

  const KVHead& head;
  const QueryRows& rows;
  int end;

  void open(int /*at*/, int /*stop*/) {}
  void score(int row, int count, Range range, float* scores) {
    score_rows(block_at<Cache>(head, range, end), count,
               range.end - range.begin, rows.q + row * rows.stride, rows.stride,
               scores);
  }
  void weigh(int row, int count, Range range, const float* weights,
             const float* factors, const AttentionPart& part) {
    weigh_rows(block_at<Cache>(head, range, end), count,
               range.end - range.begin, weights, factors,
               part.out + row * part.stride, part.stride);
  }
};

/// Converts a block once for several tiles of rows.
template <typename Cache>
struct WideningMath {
  static constexpr int kRows = Shape::kRows;

  const KVHead& head;
  const QueryRows& rows;
  KVHead block;  // as float32
  int opened = 0;

  void open(int at, int stop) {
    opened = at;
    widen<Cache>(head, at, stop, static_cast<float*>(block.keys),
                 static_cast<float*>(block.values));
  }
  Block<F32Cache> at(Range range) const {
    return block_at<F32Cache>(block, {range.begin - opened, range.end - opened},
                              kBlock);
  }
  void score(int row, int count, Range range, float* scores) {
    score_rows(at(range), count, range.end - range.begin,
               rows.q + row * rows.stride, rows.stride, scores);
  }
  void weigh(int row, int count, Range range, const float* weights,
             const float* factors, const AttentionPart& part) {
    weigh_rows(at(range), count, range.end - range.begin, weights, factors,
               part.out + row * part.stride, part.stride);
  }
};

inline bool supports(ValueType /*type*/, int head_dim, ValueType /*compute*/) {
  return head_dim > 0 && head_dim % 2 == 0;
}

inline std::size_t scratch_bytes(int head_dim, int rows) {
  if (rows <= Shape::kRows) return 0;
  return sizeof(float) * kBlock *
         static_cast<std::size_t>(head_dim + padded(head_dim));
}

inline void attend(const KVHead& head, const QueryRows& rows, int begin,
                   int end, void* scratch, const AttentionPart& part) {
  with_cache(head.type, [&](auto cache) {
    using Cache = decltype(cache);
    if (Cache::kPair == 1 || rows.count <= Shape::kRows) {
      DirectMath<Cache> math{head, rows, end};
      attend_by(math, rows, head.head_dim, begin, end, part);
    } else {
      auto* values = static_cast<float*>(scratch);
      float* keys = values + std::ptrdiff_t{kBlock} * padded(head.head_dim);
      WideningMath<Cache> math{
          head, rows, {ValueType::f32, head.head_dim, kBlock, keys, values}};
      attend_by(math, rows, head.head_dim, begin, end, part);
    }
  });
}

constexpr AttentionKernel kernel_named(std::string_view name, Isa isa) {
  return {name, isa, 1, supports, append, scratch_bytes, attend};
}

}  // namespace
}  // namespace llamlx
