#pragma once

// y = x w^T for many rows of x, by register tiles of kTileRows rows of x and
// kTileVectors vectors of rows of w, over struct Simd, struct Product and
// struct Steps. Local to each file.
//
// Bound by arithmetic: a block of w is unpacked once for all rows of x, which
// costs a vector of kLanes words about 5 instructions, and is then multiplied
// with `rows` rows, each an instruction.
//
// Layout  prepared x: block of kBlock columns after block; in each, panels
// [words, kTileRows] one after another. Row panels are whole: what lies past
// the last row is never read, or changes nothing that is kept.
//
// A "step" is what is multiplied at a time: kStepWords words of a row, 1 or 2.
// With 2, panels are [words / 2, width, 2], and words are made even by zeros.
// The file that includes this one defines `struct Steps` before, after
// qmm_pack.inl.h:
//   kWords
//   store<count>(to, from)  a step of `count` rows; from [kWords, kLanes]
//   join(panel, count, words)   a panel [words, kTileWidth] as packed from
//                           `count` columns becomes one of steps
//   sum(x, w, words, sums)  sums [tile_rows, kTileVectors] = x w^T

#include "cpu/matmul/matmul.h"

namespace llamlx {
namespace {

inline constexpr int kTileWidth = kTileVectors * kLanes;
inline constexpr int kRowStep = 32;  // of w: divides a head of most models
inline constexpr int kPrepareStep = 16;

inline constexpr int kStepWords = Steps::kWords;

constexpr std::ptrdiff_t words_of(int values) {
  constexpr int kStepValues = kValues * kStepWords;
  return Index((values + kStepValues - 1) / kStepValues) * kStepWords;
}

// Where the block of x that begins at column `start` lies, in words.
inline std::ptrdiff_t block_offset(int rows, int start) {
  return words_of(start) * round_up(rows, kPrepareStep);
}

inline std::size_t prepared_bytes(const WeightFormat&, int rows, int cols) {
  return static_cast<std::size_t>(round_up(rows, kPrepareStep)) *
         static_cast<std::size_t>(words_of(cols)) * sizeof(float);
}

// Columns [start, start + count) of kLanes rows of x, of which `rows` exist.
inline void prepare_block(const float* x, int x_stride, int row, int rows,
                          int count, float* block) {
  const auto load_row = [=](int i, int at) {
    if (i >= rows) return Simd::zero();
    return load_values<float, Product::load_f32<0>>(
        x + Index(i) * x_stride + Index(at) * kValues, count - at * kValues);
  };
  const int words = static_cast<int>(words_of(count));
  float columns[kBlock / kValues * kLanes];
  transpose_words(load_row, words, columns, kLanes);
  constexpr int kTogether = smaller(kLanes, kTileRows);
  for (int i = 0; i < kLanes; i += kTogether) {
    const int panel = (row + i) / kTileRows;
    float* to = block + Index(panel) * kTileRows * words +
                Index((row + i) % kTileRows) * kStepWords;
    for (Index k = 0; k < words; k += kStepWords) {
      Steps::store<kTogether>(to + k * kTileRows, columns + k * kLanes + i);
    }
  }
}

inline void prepare_rows(const WeightFormat&, const float* x, int x_stride,
                         int rows, int cols, int begin, int end,
                         void* prepared) {
  for (int start = 0; start < cols; start += kBlock) {
    float* block = static_cast<float*>(prepared) + block_offset(rows, start);
    for (int row = begin; row < end; row += kLanes) {
      prepare_block(x + Index(row) * x_stride + start, x_stride, row, end - row,
                    smaller(kBlock, cols - start), block);
    }
  }
}

// Puts `sums` into y, or adds them. Unrolled, as the sums of loops that are not
// lie in memory: a tile spent a twentieth of its time there.
template <int tile_rows>
[[gnu::always_inline]] inline void keep_sums(
    Simd::F (&sums)[tile_rows][kTileVectors], float* y, int y_stride,
    bool adds) {
  if (adds) {
#pragma GCC unroll 16
    for (int i = 0; i < tile_rows; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < kTileVectors; ++j) {
        const float* from = y + Index(i) * y_stride + Index(j) * kLanes;
        sums[i][j] = Simd::add(sums[i][j], Simd::load(from));
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < tile_rows; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kTileVectors; ++j) {
      Simd::store(y + Index(i) * y_stride + Index(j) * kLanes, sums[i][j]);
    }
  }
}

// y [tile_rows, width] = or += x w^T over `words` words.
template <int tile_rows>
void multiply_tile(const float* x, const float* w, int words, float* y,
                   int y_stride, int width, bool adds) {
  // Of many rows y lies in no near cache.
  for (int i = 0; i < tile_rows; ++i) {
    for (int j = 0; j < kTileVectors; ++j) {
      __builtin_prefetch(y + Index(i) * y_stride + Index(j) * kLanes, 1);
    }
  }
  Simd::F sums[tile_rows][kTileVectors];
  Steps::sum(x, w, words, sums);
  if (width == kTileWidth) {
    keep_sums(sums, y, y_stride, adds);
  } else {
    float part[tile_rows * kTileWidth] = {};
    if (adds) copy_rows(y, y_stride, tile_rows, width, part, kTileWidth);
    keep_sums(sums, part, kTileWidth, adds);
    copy_rows(part, kTileWidth, tile_rows, width, y, y_stride);
  }
}

using MultiplyTile = void (*)(const float* x, const float* w, int words,
                              float* y, int y_stride, int width, bool adds);

// The tile of so many rows, 1 to kTileRows.
template <int tile_rows = kTileRows>
MultiplyTile tile_of(int rows) {
  if constexpr (tile_rows > 1) {
    if (rows < tile_rows) return tile_of<tile_rows - 1>(rows);
  }
  return multiply_tile<tile_rows>;
}

inline std::size_t scratch_bytes(const WeightFormat&, int, int) {
  return static_cast<std::size_t>(kBlock / kValues) * kTileWidth *
         sizeof(float);
}

inline void multiply_rows(const WeightView& w, const void* prepared, int rows,
                          const WeightRun& run, void* scratch, float* y,
                          int y_stride) {
  const auto& [begin, end, next] = run;
  float* panel = static_cast<float*>(scratch);
  const int whole = rows / kTileRows * kTileRows;
  const MultiplyTile last_tile = tile_of(rows - whole);
  for (int start = 0; start < w.cols; start += kBlock) {
    const int count = smaller(kBlock, w.cols - start);
    const int words = static_cast<int>(words_of(count));
    const float* x =
        static_cast<const float*>(prepared) + block_offset(rows, start);
    for (int n = begin; n < end; n += kTileWidth) {
      for (int j = 0; j < kTileVectors; ++j) {
        pack_weight({&w, n + j * kLanes, start, count},
                    panel + Index(j) * kLanes, kTileWidth);
      }
      Steps::join(panel, count, words);
      const int width = smaller(kTileWidth, end - n);
      for (int i = 0; i < rows; i += kTileRows) {
        const MultiplyTile tile =
            i < whole ? multiply_tile<kTileRows> : last_tile;
        tile(x + Index(i) * words, panel, words,
             y + Index(i) * y_stride + (n - begin), y_stride, width, start > 0);
      }
    }
  }
}

}  // namespace
}  // namespace llamlx
