#pragma once

// How rows are packed for the register tiles of qmm_tiles.inl.h: those of x
// once for all weights, those of w block by block. Included after a simd_ISA.h,
// a struct Product and kBlockWords; local to each file (src/cpu/README.md).
//
// A "word" is the 32 bits that one lane multiplies at a time: kValues
// neighbours of a row (one float32, or two bfloat16). A panel [words, width]
// has a row of x or w in each column, so that a vector holds the same words of
// neighbouring rows. Rows become columns by transposing squares of kLanes words
// in registers; packed codes are transposed before they are unpacked, which
// moves 32 / bits times fewer words.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/weight_view.h"

namespace llamlx {
namespace {

// Of what lies in memory: products of ints that are widened first.
using Index = std::ptrdiff_t;

inline constexpr int kLanes = Simd::kLanes;
inline constexpr int kValues = Product::kValues;

// Columns taken at a time. The block of w for one tile stays in the first or
// second cache, and the block of 512 rows of x in the second. A multiple of
// every group and of every square of words.
inline constexpr int kBlock = kBlockWords * kValues;

constexpr int smaller(int a, int b) { return a < b ? a : b; }
constexpr int round_up(int count, int step) {
  return (count + step - 1) / step * step;
}

// Copies [rows, width] numbers between matrices of other strides.
inline void copy_rows(const float* from, int from_stride, int rows, int width,
                      float* to, int to_stride) {
  for (int i = 0; i < rows; ++i) {
    std::memcpy(to + Index(i) * to_stride, from + Index(i) * from_stride,
                static_cast<std::size_t>(width) * sizeof(float));
  }
}

// The words of up to kLanes * kValues values of a row, zeros after its end.
template <typename T, Simd::F (*load)(const T*)>
Simd::F load_values(const T* row, int count) {
  constexpr int kFull = kLanes * kValues;
  if (count >= kFull) return load(row);
  T part[kFull] = {};
  if (count > 0) {
    std::memcpy(part, row, static_cast<std::size_t>(count) * sizeof(T));
  }
  return load(part);
}

// Words [0, count) of kLanes rows, `rows` long, to panel [count, kLanes] whose
// rows are `stride` words apart; `load(i, at)` are kLanes words of row i.
template <typename Load>
void transpose_words(const Load& load, int count, float* panel, int stride) {
  for (int at = 0; at < count; at += kLanes) {
    Simd::F square[kLanes];
    for (int i = 0; i < kLanes; ++i) square[i] = load(i, at);
    Simd::transpose(square);
    for (int i = 0; i < smaller(kLanes, count - at); ++i) {
      Simd::store(panel + Index(at + i) * stride, square[i]);
    }
  }
}

// What the rows [first, first + kLanes) of w have at column `start`. Rows past
// the end of w repeat its last: they are computed, but never stored.
struct RowsOfWeight {
  const WeightView* w;
  int first;
  int start;
  int count;  // columns

  std::ptrdiff_t row(int i) const { return smaller(first + i, w->rows - 1); }
};

template <typename T, Simd::F (*load)(const T*)>
void pack_dense(const RowsOfWeight& rows, float* panel, int stride) {
  const T* begin = static_cast<const T*>(rows.w->data) + rows.start;
  const auto load_row = [&](int i, int at) {
    return load_values<T, load>(
        begin + rows.row(i) * rows.w->cols + at * kValues,
        rows.count - at * kValues);
  };
  transpose_words(load_row, (rows.count + kValues - 1) / kValues, panel,
                  stride);
}

// Every plane of a dense weight: what a Product that splits its operands has
// left of them after the first is a panel of its own.
template <int plane>
void pack_dense_planes(const RowsOfWeight& rows, float* panel, int stride) {
  switch (rows.w->format.values) {
    case ValueType::f32:
      pack_dense<float, Product::load_f32<plane>>(rows, panel, stride);
      break;
    case ValueType::f16:
      pack_dense<std::uint16_t, Product::load_f16<plane>>(rows, panel, stride);
      break;
    case ValueType::bf16:
      pack_dense<std::uint16_t, Product::load_bf16<plane>>(rows, panel, stride);
      break;
  }
  if constexpr (plane + 1 < Product::kPlanes) {
    pack_dense_planes<plane + 1>(rows, panel + Product::kPlaneWords, stride);
  }
}

// One number of every row: scales or biases of a group.
inline Simd::F load_column(const RowsOfWeight& rows, const void* table,
                           int group) {
  const std::ptrdiff_t row_groups = rows.w->cols / rows.w->format.group_size;
  if (rows.w->format.values == ValueType::f32) {
    const float* values = static_cast<const float*>(table) + group;
    float column[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      column[i] = values[rows.row(i) * row_groups];
    }
    return Simd::load(column);
  }
  const std::uint16_t* values =
      static_cast<const std::uint16_t*>(table) + group;
  std::uint16_t column[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    column[i] = values[rows.row(i) * row_groups];
  }
  return rows.w->format.values == ValueType::bf16 ? Simd::load_bf16(column)
                                                  : Simd::load_f16(column);
}

// Values `at` and at + 1, ..., 31 of 32 whose codes are `words` [bits, kLanes].
template <int bits, int at = 0>
void unpack_values(const float* words, Simd::F scale, Simd::F bias,
                   float* panel, int stride) {
  constexpr int kFirst = at * bits / 32;
  constexpr int kSecond = (at + 1) * bits / 32;
  const auto word = [words](int i) {
    return Simd::load(words + Index(i < bits ? i : bits - 1) * kLanes);
  };
  const Simd::F a =
      Simd::number_at<at * bits % 32, bits>(word(kFirst), word(kFirst + 1));
  const Simd::F b = Simd::number_at<(at + 1) * bits % 32, bits>(
      word(kSecond), word(kSecond + 1));
  Product::store_pair(panel + Index(at / kValues) * stride, stride,
                      Simd::fma(scale, a, bias), Simd::fma(scale, b, bias));
  if constexpr (at + 2 < 32) {
    unpack_values<bits, at + 2>(words, scale, bias, panel, stride);
  }
}

template <int bits>
void pack_affine(const RowsOfWeight& rows, float* panel, int stride) {
  const WeightView& w = *rows.w;
  const std::ptrdiff_t row_words = Index(w.cols) * bits / 32;
  const int count = rows.count / 32 * bits;
  const std::uint32_t* begin =
      static_cast<const std::uint32_t*>(w.data) + Index(rows.start) / 32 * bits;
  const auto load_row = [&](int i, int at) {
    const std::uint32_t* words = begin + rows.row(i) * row_words + at;
    if (at + kLanes <= count) return Simd::load_words(words);
    std::uint32_t part[kLanes] = {};
    std::memcpy(part, words, static_cast<std::size_t>(count - at) * 4);
    return Simd::load_words(part);
  };
  float words[kBlock / 32 * 8 * kLanes];  // bits <= 8
  transpose_words(load_row, count, words, kLanes);
  Simd::F scale = Simd::zero();
  Simd::F bias = Simd::zero();
  for (int k = 0; k < rows.count; k += 32) {
    const int column = rows.start + k;
    if (column % w.format.group_size == 0) {
      scale = load_column(rows, w.scales, column / w.format.group_size);
      bias = load_column(rows, w.biases, column / w.format.group_size);
    }
    unpack_values<bits>(words + Index(k) / 32 * bits * kLanes, scale, bias,
                        panel + Index(k) / kValues * stride, stride);
  }
}

// Packs columns [start, start + count) of rows [first, first + kLanes) of w.
inline void pack_weight(const RowsOfWeight& rows, float* panel, int stride) {
  const WeightFormat& format = rows.w->format;
  switch (format.bits) {
    case 2:
      return pack_affine<2>(rows, panel, stride);
    case 3:
      return pack_affine<3>(rows, panel, stride);
    case 4:
      return pack_affine<4>(rows, panel, stride);
    case 5:
      return pack_affine<5>(rows, panel, stride);
    case 6:
      return pack_affine<6>(rows, panel, stride);
    case 8:
      return pack_affine<8>(rows, panel, stride);
    default:
      break;
  }
  pack_dense_planes<0>(rows, panel, stride);
}

inline bool supports_format(const WeightFormat& format, int cols) {
  const int bits = format.bits;
  if (bits == 0) return cols >= 1;
  const int group = format.group_size;
  return (bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 ||
          bits == 8) &&
         (group == 32 || group == 64 || group == 128) && cols >= group &&
         cols % group == 0;
}

}  // namespace
}  // namespace llamlx
