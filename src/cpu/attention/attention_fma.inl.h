#pragma once

// Attention by products and sums in float32, over struct Simd and struct Shape
// (the tile held in registers), which the file that includes this one has
// declared before.

#include "cpu/attention/attention.inl.h"

namespace llamlx {
namespace {

/// scores[r * kBlock + position] of kVectors vectors of positions.
template <typename Cache, int kRows, int kVectors>
void score_tile(const typename Cache::Value* keys, int head_dim, const float* q,
                std::ptrdiff_t stride, float* scores) {
  constexpr int kLanes = Simd::kLanes;
  Simd::F sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) sums[r][v] = Simd::zero();
  }
  for (int d = 0; d < head_dim; d += 2) {
    Simd::F even[kVectors];
    Simd::F odd[kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const int block = v * kLanes / kKeyBlock * kKeyBlock;
      Cache::load(keys + block * head_dim + d * kKeyBlock +
                      (v * kLanes - block) * Cache::kPair,
                  kKeyBlock, even[v], odd[v]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Simd::F a = Simd::set1(q[r * stride + d]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = Simd::fma(a, even[v], sums[r][v]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Simd::F b = Simd::set1(q[r * stride + d + 1]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = Simd::fma(b, odd[v], sums[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      Simd::store(scores + r * kBlock + v * kLanes, sums[r][v]);
    }
  }
}

/// out[r] = out[r] * factors[r] + weights[r] values, for kVectors vectors of
/// elements, `count` positions; `width` elements of them are there.
template <typename Cache, int kRows, int kVectors>
void weigh_tile(const typename Cache::Value* values, int step, int count,
                const float* weights, const float* factors, int width,
                float* out, std::ptrdiff_t stride) {
  constexpr int kLanes = Simd::kLanes;
  Simd::F sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const Simd::F before =
          Simd::load_part(out + r * stride + v * kLanes, width - v * kLanes);
      sums[r][v] = Simd::mul(before, Simd::set1(factors[r]));
    }
  }
  for (int j = 0; j < count; j += 2) {
    Simd::F even[kVectors];
    Simd::F odd[kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      Cache::load(values + j * step + v * kLanes * Cache::kPair, step, even[v],
                  odd[v]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Simd::F a = Simd::set1(weights[r * kBlock + j]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = Simd::fma(a, even[v], sums[r][v]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Simd::F b = Simd::set1(weights[r * kBlock + j + 1]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = Simd::fma(b, odd[v], sums[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      Simd::store_part(out + r * stride + v * kLanes, sums[r][v],
                       width - v * kLanes);
    }
  }
}

template <int kNumber>
struct Number {
  static constexpr int value = kNumber;
};

/// Calls `work` with a count of rows the compiler knows, at most kMost.
template <int kMost, typename Work>
void with_rows(int rows, Work work) {
  if constexpr (kMost > 1) {
    if (rows < kMost) {
      with_rows<kMost - 1>(rows, work);
      return;
    }
  }
  work(Number<kMost>{});
}

/// The keys and values of a block, read as `Cache` says.
template <typename Cache>
struct Block {
  const typename Cache::Value* keys;
  const typename Cache::Value* values;
  int head_dim;
};

template <typename Cache>
void score_rows(const Block<Cache>& block, int rows, int positions,
                const float* q, std::ptrdiff_t stride, float* scores) {
  constexpr int kStep = Shape::kVectors * Simd::kLanes;
  static_assert(kStep % kKeyBlock == 0 || kKeyBlock % kStep == 0);
  with_rows<Shape::kRows>(rows, [=](auto number) {
    constexpr int kRows = decltype(number)::value;
    int j = 0;
    for (; j + kStep <= positions; j += kStep) {
      const int in_block = j % kKeyBlock;
      score_tile<Cache, kRows, Shape::kVectors>(
          block.keys + (j - in_block) * block.head_dim +
              in_block * Cache::kPair,
          block.head_dim, q, stride, scores + j);
    }
    for (; j < positions; j += kKeyBlock) {
      score_tile<Cache, kRows, kKeyBlock / Simd::kLanes>(
          block.keys + j * block.head_dim, block.head_dim, q, stride,
          scores + j);
    }
  });
}

template <typename Cache>
void weigh_rows(const Block<Cache>& block, int rows, int positions,
                const float* weights, const float* factors, float* out,
                std::ptrdiff_t stride) {
  constexpr int kStep = Shape::kVectors * Simd::kLanes;
  const int step = padded(block.head_dim);
  with_rows<Shape::kRows>(rows, [=](auto number) {
    constexpr int kRows = decltype(number)::value;
    int e = 0;
    for (; e + kStep <= step; e += kStep) {
      weigh_tile<Cache, kRows, Shape::kVectors>(
          block.values + e * Cache::kPair, step, positions, weights, factors,
          block.head_dim - e, out + e, stride);
    }
    for (; e < block.head_dim; e += Simd::kLanes) {
      weigh_tile<Cache, kRows, 1>(block.values + e * Cache::kPair, step,
                                  positions, weights, factors,
                                  block.head_dim - e, out + e, stride);
    }
  });
}

/// A cache's keys of the positions [at, stop), and its values, as float32.
template <typename Cache>
void widen(const KVHead& head, int at, int stop, float* keys, float* values) {
  using Value = typename Cache::Value;
  constexpr int kLanes = Simd::kLanes;
  const std::ptrdiff_t start = at;
  const auto* from = static_cast<const Value*>(head.keys);
  from += start * head.head_dim;
  for (int j = 0; j < stop - at; j += kKeyBlock) {
    for (int d = 0; d < head.head_dim; d += 2) {
      const int offset = j * head.head_dim + d * kKeyBlock;
      for (int lane = 0; lane < kKeyBlock; lane += kLanes) {
        Simd::F even;
        Simd::F odd;
        Cache::load(from + offset + lane * Cache::kPair, kKeyBlock, even, odd);
        Simd::store(keys + offset + lane, even);
        Simd::store(keys + offset + kKeyBlock + lane, odd);
      }
    }
  }
  const int step = padded(head.head_dim);
  from = static_cast<const Value*>(head.values) + start * step;
  for (int j = 0; j < stop - at; j += 2) {
    for (int e = 0; e < step; e += kLanes) {
      Simd::F even;
      Simd::F odd;
      Cache::load(from + j * step + e * Cache::kPair, step, even, odd);
      Simd::store(values + j * step + e, even);
      Simd::store(values + (j + 1) * step + e, odd);
    }
  }
}

/// Reads the cache as it lies: for a tile of rows, to which each number is
/// converted once anyway.
template <typename Cache>
struct DirectMath {
  using Value = typename Cache::Value;
  static constexpr int kRows = Shape::kRows;

  const KVHead& head;
  const QueryRows& rows;

  void open(int /*at*/, int /*stop*/) {}
  Block<Cache> block_at(int position) const {
    const std::ptrdiff_t start = position;
    return {
        static_cast<const Value*>(head.keys) + start * head.head_dim,
        static_cast<const Value*>(head.values) + start * padded(head.head_dim),
        head.head_dim};
  }
  void score(int row, int count, Range range, float* scores) {
    score_rows(block_at(range.begin), count, range.end - range.begin,
               rows.q + row * rows.stride, rows.stride, scores);
  }
  void weigh(int row, int count, Range range, const float* weights,
             const float* factors, const AttentionPart& part) {
    weigh_rows(block_at(range.begin), count, range.end - range.begin, weights,
               factors, part.out + row * part.stride, part.stride);
  }
};

/// Converts a block once for several tiles of rows.
template <typename Cache>
struct WideningMath {
  static constexpr int kRows = Shape::kRows;

  const KVHead& head;
  const QueryRows& rows;
  float* keys;
  float* values;
  int opened = 0;

  void open(int at, int stop) {
    opened = at;
    widen<Cache>(head, at, stop, keys, values);
  }
  Block<F32Cache> block_at(int position) const {
    return {keys + (position - opened) * head.head_dim,
            values + (position - opened) * padded(head.head_dim),
            head.head_dim};
  }
  void score(int row, int count, Range range, float* scores) {
    score_rows(block_at(range.begin), count, range.end - range.begin,
               rows.q + row * rows.stride, rows.stride, scores);
  }
  void weigh(int row, int count, Range range, const float* weights,
             const float* factors, const AttentionPart& part) {
    weigh_rows(block_at(range.begin), count, range.end - range.begin, weights,
               factors, part.out + row * part.stride, part.stride);
  }
};

bool supports(ValueType /*type*/, int head_dim, ValueType /*compute*/) {
  return head_dim > 0 && head_dim % 2 == 0;
}

std::size_t scratch_bytes(int head_dim, int rows) {
  if (rows <= Shape::kRows) return 0;
  return sizeof(float) * kBlock *
         static_cast<std::size_t>(head_dim + padded(head_dim));
}

void attend(const KVHead& head, const QueryRows& rows, int begin, int end,
            void* scratch, const AttentionPart& part) {
  with_cache(head.type, [&](auto cache) {
    using Cache = decltype(cache);
    if (Cache::kPair == 1 || rows.count <= Shape::kRows) {
      DirectMath<Cache> math{head, rows};
      attend_by(math, rows, head.head_dim, begin, end, part);
    } else {
      // Values first: vectors of them lie on a cache's lines.
      auto* values = static_cast<float*>(scratch);
      WideningMath<Cache> math{head, rows,
                               values + kBlock * padded(head.head_dim), values};
      attend_by(math, rows, head.head_dim, begin, end, part);
    }
  });
}

constexpr AttentionKernel kernel_named(std::string_view name, Isa isa) {
  return {name, isa, 1, supports, append, scratch_bytes, attend};
}

}  // namespace
}  // namespace llamlx
