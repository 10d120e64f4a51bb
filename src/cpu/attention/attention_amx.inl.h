#pragma once

// Attention by tiles of bf16: queries times keys and weights times values, 32
// rows at a time. Over AVX-512's struct Simd or the scalar one, and a struct
// Tiles: the processor's in attention_amx.cpp, plain code in the test. Tiles
// holds a square of sums, 32 x 32 floats:
//   open() close()             before and after a thread works with them
//   clear()                    sums = 0
//   multiply(a, a_stride, b0, b1, b_stride)
//       sums += a b; a [32][32] bf16; b [32][32], its left and its right half
//       each [16][16][2], pairs of its rows; strides in bytes
//   store(left, right, stride) the sums' halves, each [32][16]; in bytes

#include "cpu/attention/attention.inl.h"

namespace llamlx {
namespace {

/// Rows of a tile, pairs of bf16, floats.
inline constexpr std::ptrdiff_t kTile = 16;
inline constexpr int kSquare = 32;

inline constexpr std::ptrdiff_t kScoreBytes = sizeof(float) * kBlock;
inline constexpr std::ptrdiff_t kSquareBytes = sizeof(float) * kSquare;

/// Rounds to bf16 as the cache does, `count` floats.
inline void round_row(const float* from, int count, std::uint16_t* to) {
  for (int i = 0; i < count; i += Simd::kLanes) {
    Simd::store_bf16(to + i, Simd::load(from + i));
  }
}

/// What a thread works in beside the scores.
struct TileScratch {
  float* sums;             // [kSquare][kSquare]
  std::uint16_t* weights;  // [kSquare][kBlock]
  std::uint16_t* tail;     // [kTile][head_dim][2]: half of it values, then 0
  std::uint16_t* q;        // [rows, to a multiple of kSquare][head_dim]

  static std::size_t bytes(int head_dim, int rows) {
    const auto width = static_cast<std::size_t>(head_dim);
    return sizeof(float) * std::size_t{kSquare} * kSquare +
           sizeof(std::uint16_t) *
               (std::size_t{kSquare} * (kBlock + width) +
                static_cast<std::size_t>(round_up(rows, kSquare)) * width);
  }

  TileScratch(void* memory, int head_dim) {
    sums = static_cast<float*>(memory);
    weights = reinterpret_cast<std::uint16_t*>(sums + 2 * kTile * kSquare);
    tail = weights + scores_of(kSquare);
    q = tail + std::ptrdiff_t{kSquare} * head_dim;
  }
};

struct TileMath {
  static constexpr int kRows = kSquare;

  const KVHead& head;
  const QueryRows& rows;
  TileScratch scratch;

  void round_queries() {
    const std::ptrdiff_t width = head.head_dim;
    for (std::ptrdiff_t r = 0; r < rows.count; ++r) {
      round_row(rows.q + r * rows.stride, head.head_dim, scratch.q + r * width);
    }
    for (std::ptrdiff_t i = rows.count * width;
         i < round_up(rows.count, kSquare) * width; ++i) {
      scratch.q[i] = 0;
    }
    for (int i = 0; i < kSquare * kBlock; ++i) scratch.weights[i] = 0;
    for (std::ptrdiff_t i = 0; i < kSquare * width; ++i) scratch.tail[i] = 0;
  }

  void open(int /*at*/, int /*stop*/) {}

  const std::uint16_t* keys_at(int position) const {
    return static_cast<const std::uint16_t*>(head.keys) +
           static_cast<std::ptrdiff_t>(position) * head.head_dim;
  }
  const std::uint16_t* values_at(int position) const {
    return static_cast<const std::uint16_t*>(head.values) +
           static_cast<std::ptrdiff_t>(position) * head.head_dim;
  }

  void score(int row, int /*count*/, Range range, float* scores) {
    const std::ptrdiff_t width = head.head_dim;
    const int positions = range.end - range.begin;
    // Half a square may be left over: what is beside it then has no keys of its
    // own (there may be no cache), and its scores no reader, but a place.
    static_assert(kBlock % kSquare == 0);
    for (int j = 0; j < positions; j += kSquare) {
      const bool is_half = positions - j < kSquare;
      const std::uint16_t* left = keys_at(range.begin + j);
      const std::uint16_t* right = is_half ? left : left + kTile * width;
      Tiles::clear();
      for (std::ptrdiff_t d = 0; d < width; d += kSquare) {
        Tiles::multiply(scratch.q + row * width + d, 2 * width,
                        left + d * kTile, right + d * kTile, 4 * kTile);
      }
      Tiles::store(scores + j, scores + j + kTile, kScoreBytes);
    }
  }

  void weigh(int row, int count, Range range, const float* weights,
             const float* factors, const AttentionPart& part) {
    const std::ptrdiff_t width = head.head_dim;
    const int positions = range.end - range.begin;
    const int whole = round_down(positions, kSquare);
    for (std::ptrdiff_t r = 0; r < count; ++r) {
      std::uint16_t* to = scratch.weights + scores_of(r);
      round_row(weights + scores_of(r), positions, to);
      for (int j = positions; j < round_up(positions, kSquare); ++j) to[j] = 0;
    }
    if (whole < positions) {
      // Beyond the last positions there may be no cache: half a tile is zeros.
      __builtin_memcpy(
          scratch.tail, values_at(range.begin + whole),
          sizeof(std::uint16_t) * static_cast<std::size_t>(kTile * width));
    }
    for (std::ptrdiff_t e = 0; e < width; e += kSquare) {
      Tiles::clear();
      for (int j = 0; j < positions; j += kSquare) {
        const std::uint16_t* values =
            (j < whole ? values_at(range.begin + j) : scratch.tail) + 2 * e;
        Tiles::multiply(scratch.weights + j, kScoreBytes / 2, values,
                        values + 2 * kTile, 4 * width);
      }
      Tiles::store(scratch.sums, scratch.sums + kTile, kSquareBytes);
      for (std::ptrdiff_t r = 0; r < count; ++r) {
        float* out = part.out + (row + r) * part.stride + e;
        const Simd::F factor = Simd::set1(factors[r]);
        for (int i = 0; i < kSquare; i += Simd::kLanes) {
          Simd::store(out + i,
                      Simd::fma(Simd::load(out + i), factor,
                                Simd::load(scratch.sums + r * kSquare + i)));
        }
      }
    }
  }
};

inline bool supports(ValueType type, int head_dim, ValueType compute) {
  return type == ValueType::bf16 && compute == ValueType::bf16 &&
         head_dim > 0 && head_dim % kSquare == 0;
}

inline void attend(const KVHead& head, const QueryRows& rows, int begin,
                   int end, void* scratch, const AttentionPart& part) {
  TileMath math{head, rows, TileScratch(scratch, head.head_dim)};
  math.round_queries();
  Tiles::open();
  attend_by(math, rows, head.head_dim, begin, end, part);
  Tiles::close();
}

constexpr AttentionKernel kernel_named(std::string_view name, Isa isa) {
  return {name, isa, kTile, supports, append, TileScratch::bytes, attend};
}

}  // namespace
}  // namespace llamlx
