#pragma once

// Tiles of query rows and vectors of a cache, whose sums stay in registers;
// over struct Simd and struct Shape (how large such a tile is), which the file
// that includes this one has declared before.

#include "cpu/attention/attention.inl.h"
#include "cpu/simd/prefetch.inl.h"

namespace llamlx {
namespace {

template <int number>
struct Number {
  static constexpr int kValue = number;
};

/// Calls `work` with a count of rows the compiler knows, at most most.
template <int most, typename Work>
void with_rows(int rows, Work work) {
  if constexpr (most > 1) {
    if (rows < most) {
      with_rows<most - 1>(rows, work);
      return;
    }
  }
  work(Number<most>{});
}

/// What is read soon: next what lies at `near`, after that what lies at `far`.
struct Ahead {
  const char* near;
  const char* far;

  Ahead from(std::ptrdiff_t byte) const { return {near + byte, far + byte}; }
};

/// Asks for `byte_count` bytes of both.
template <int byte_count>
void ask(Ahead ahead) {
  if constexpr (byte_count >= kLine) {
#pragma GCC unroll 16
    for (int at = 0; at < byte_count; at += kLine) {
      ask_for_lines(ahead.near + at, ahead.far + at);
    }
  }
}

/// scores[r * kBlock + position] of vector_count vectors of positions. As many
/// bytes as it reads of the keys it asks for of what is ahead.
template <typename Cache, int row_count, int vector_count>
void score_tile(const typename Cache::Value* keys, std::ptrdiff_t head_dim,
                const typename Cache::Query* q, std::ptrdiff_t stride,
                float* scores, Ahead ahead) {
  constexpr std::ptrdiff_t kLanes = Simd::kLanes;
  constexpr int kBytes = vector_count * kLanes * 2 *
                         static_cast<int>(sizeof(typename Cache::Value));
  Simd::F sums[row_count][vector_count];
#pragma GCC unroll 16
  for (int r = 0; r < row_count; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < vector_count; ++v) sums[r][v] = Simd::zero();
  }
  for (std::ptrdiff_t d = 0; d < head_dim; d += 2) {
    typename Cache::Pair pairs[vector_count];
#pragma GCC unroll 16
    for (int v = 0; v < vector_count; ++v) {
      const std::ptrdiff_t block = v * kLanes / kKeyBlock * kKeyBlock;
      pairs[v] = Cache::load(keys + block * head_dim + d * kKeyBlock +
                                 (v * kLanes - block) * Cache::kPair,
                             kKeyBlock);
    }
    ask<kBytes>(ahead.from(d / 2 * kBytes));
#pragma GCC unroll 16
    for (int r = 0; r < row_count; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < vector_count; ++v) {
        sums[r][v] = Cache::dot(q + r * stride + d, pairs[v], sums[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < row_count; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < vector_count; ++v) {
      Simd::store(scores + scores_of(r) + v * kLanes, sums[r][v]);
    }
  }
}

/// out[r] = out[r] * factors[r] + weights[r] values, for vector_count vectors
/// of elements, of which `width` are there, and `count` positions. As many
/// bytes as it reads of the values it asks for of what is ahead.
template <typename Cache, int row_count, int vector_count>
void weigh_tile(const typename Cache::Value* values, std::ptrdiff_t step,
                int count, const typename Cache::Query* weights,
                const float* factors, int width, float* out,
                std::ptrdiff_t stride, Ahead ahead) {
  constexpr std::ptrdiff_t kLanes = Simd::kLanes;
  constexpr int kBytes = vector_count * kLanes * 2 *
                         static_cast<int>(sizeof(typename Cache::Value));
  Simd::F sums[row_count][vector_count];
#pragma GCC unroll 16
  for (int r = 0; r < row_count; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < vector_count; ++v) {
      const Simd::F before = Simd::load_part(out + r * stride + v * kLanes,
                                             width - v * Simd::kLanes);
      sums[r][v] = Simd::mul(before, Simd::set1(factors[r]));
    }
  }
  for (std::ptrdiff_t j = 0; j < count; j += 2) {
    typename Cache::Pair pairs[vector_count];
#pragma GCC unroll 16
    for (int v = 0; v < vector_count; ++v) {
      pairs[v] =
          Cache::load(values + j * step + v * kLanes * Cache::kPair, step);
    }
    ask<kBytes>(ahead.from(j / 2 * kBytes));
#pragma GCC unroll 16
    for (int r = 0; r < row_count; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < vector_count; ++v) {
        sums[r][v] =
            Cache::dot(weights + scores_of(r) + j, pairs[v], sums[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < row_count; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < vector_count; ++v) {
      Simd::store_part(out + r * stride + v * kLanes, sums[r][v],
                       width - v * Simd::kLanes);
    }
  }
}

/// Keys and values from a position on, and what to ask memory for while they
/// are scored, and while they are weighed.
template <typename Cache>
struct Block {
  const typename Cache::Value* keys;
  const typename Cache::Value* values;
  int head_dim;
  Ahead of_scores;
  Ahead of_weights;
};

/// The block at a position of the cache as it lies. While its keys are scored,
/// memory is asked for its values and those of the block after it, and while
/// values are weighed, for the keys of the two blocks after it, up to `end`.
template <typename Cache>
Block<Cache> block_at(const KVHead& head, Range range, int end) {
  using Value = typename Cache::Value;
  const auto keys_at = [&](int position) {
    return static_cast<const Value*>(head.keys) +
           std::ptrdiff_t{position} * head.head_dim;
  };
  const auto values_at = [&](int position) {
    return static_cast<const Value*>(head.values) +
           std::ptrdiff_t{position} * padded(head.head_dim);
  };
  const auto bytes = [](const Value* p) {
    return reinterpret_cast<const char*>(p);
  };
  const auto within = [=](int position) {
    return position < end ? position : range.begin;
  };
  const int next = within(range.end);
  const int after_next = within(2 * range.end - range.begin);
  return {keys_at(range.begin),
          values_at(range.begin),
          head.head_dim,
          {bytes(values_at(range.begin)), bytes(values_at(next))},
          {bytes(keys_at(next)), bytes(keys_at(after_next))}};
}

template <typename Cache>
void score_rows(const Block<Cache>& block, int rows, int positions,
                const typename Cache::Query* q, std::ptrdiff_t stride,
                float* scores) {
  constexpr int kStep = Shape::kVectors * Simd::kLanes;
  static_assert(kStep % kKeyBlock == 0 || kKeyBlock % kStep == 0);
  with_rows<Shape::kRows>(rows, [=](auto number) {
    constexpr int kRows = decltype(number)::kValue;
    const std::ptrdiff_t row_bytes =
        block.head_dim * std::ptrdiff_t{sizeof(typename Cache::Value)};
    int j = 0;
    for (; j + kStep <= positions; j += kStep) {
      const int in_block = j % kKeyBlock;
      score_tile<Cache, kRows, Shape::kVectors>(
          block.keys + std::ptrdiff_t{j - in_block} * block.head_dim +
              in_block * Cache::kPair,
          block.head_dim, q, stride, scores + j,
          block.of_scores.from(j * row_bytes));
    }
    for (; j < positions; j += kKeyBlock) {
      score_tile<Cache, kRows, kKeyBlock / Simd::kLanes>(
          block.keys + std::ptrdiff_t{j} * block.head_dim, block.head_dim, q,
          stride, scores + j, block.of_scores.from(j * row_bytes));
    }
  });
}

template <typename Cache>
void weigh_rows(const Block<Cache>& block, int rows, int positions,
                const typename Cache::Query* weights, const float* factors,
                float* out, std::ptrdiff_t stride) {
  constexpr int kStep = Shape::kVectors * Simd::kLanes;
  const int step = padded(block.head_dim);
  with_rows<Shape::kRows>(rows, [=](auto number) {
    constexpr int kRows = decltype(number)::kValue;
    const std::ptrdiff_t column_bytes =
        positions * std::ptrdiff_t{sizeof(typename Cache::Value)};
    int e = 0;
    for (; e + kStep <= step; e += kStep) {
      weigh_tile<Cache, kRows, Shape::kVectors>(
          block.values + e * Cache::kPair, step, positions, weights, factors,
          block.head_dim - e, out + e, stride,
          block.of_weights.from(e * column_bytes));
    }
    for (; e < block.head_dim; e += Simd::kLanes) {
      weigh_tile<Cache, kRows, 1>(block.values + e * Cache::kPair, step,
                                  positions, weights, factors,
                                  block.head_dim - e, out + e, stride,
                                  block.of_weights.from(e * column_bytes));
    }
  });
}

}  // namespace
}  // namespace llamlx
