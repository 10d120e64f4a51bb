#pragma once

// What the files of few rows share; each is compiled for an instruction set of
// its own, so each has its own copy.

#include <cstddef>
#include <cstdint>

#include "cpu/matmul/matmul.h"
#include "cpu/matmul/read_ahead.h"
#include "cpu/simd/prefetch.inl.h"

namespace llamlx {
namespace {

using Byte = unsigned char;

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
constexpr int smaller(int a, int b) { return a < b ? a : b; }

constexpr int bytes_of(ValueType type) {
  return type == ValueType::f32 ? 4 : 2;
}

inline std::ptrdiff_t bytes_of_row(const WeightView& w) {
  const std::ptrdiff_t cols = w.cols;
  return w.format.bits == 0 ? cols * bytes_of(w.format.values)
                            : cols * w.format.bits / 8;
}

constexpr int log2_of(int power) {
  return __builtin_ctz(static_cast<unsigned>(power));
}

template <int value>
struct Number {
  static constexpr int kValue = value;
};

// step(Number<k>) for k in [first, end): where an instruction wants k as a
// constant, and where k chooses one of the vectors that must stay in registers.
template <int end, int first = 0, typename Step>
[[gnu::always_inline]] inline void for_each_number(const Step& step) {
  if constexpr (first < end) {
    step(Number<first>{});
    for_each_number<end, first + 1>(step);
  }
}

// How many rows later is far enough: whole steps, so that each line is asked
// for once, or once by each of the two caches.
struct RowsAhead {
  int rows;
  bool is_by_two_caches;
};

// With steps of `rows` rows.
inline RowsAhead rows_ahead(std::ptrdiff_t row_bytes, int rows) {
  const ReadAhead& read = read_ahead();
  const std::ptrdiff_t step = row_bytes * rows;
  return {static_cast<int>((read.bytes + step - 1) / step) * rows,
          read.is_by_two_caches};
}

// Where the rows n, n + 1, ... begin; those past the end stand for the last,
// so that a row is computed by the same instructions wherever it stands.
template <int rows>
void find_rows(const void* data, std::ptrdiff_t row_bytes, int n, int end,
               const Byte* (&row)[rows]) {
  for (int r = 0; r < rows; ++r) {
    const std::ptrdiff_t at = smaller(n + r, end - 1);
    row[r] = static_cast<const Byte*>(data) + at * row_bytes;
  }
}

// What is asked for while a step of a weight's rows, or of their scales, is
// multiplied: bytes from `far` on, and of two caches from `near` on too, both
// from `row`.
struct Ahead {
  const Byte* row;
  std::ptrdiff_t far;
  std::ptrdiff_t near;
  bool is_by_two_caches;
};

// From row n of a run that ends at `end` to `rows` rows later, and past the end
// as far into what is `next`.
[[gnu::always_inline]] inline std::ptrdiff_t distance_of(
    const Byte* row, std::ptrdiff_t row_bytes, int n, int rows, int end,
    const void* next) {
  const std::ptrdiff_t past = n + rows - end;
  if (past < 0) return rows * row_bytes;
  if (next == nullptr) return 0;
  return static_cast<std::ptrdiff_t>(reinterpret_cast<std::uintptr_t>(next) -
                                     reinterpret_cast<std::uintptr_t>(row)) +
         past * row_bytes;
}

// Of the step of `rows` rows from n on: far is what comes that much later, near
// is the next step.
template <int rows>
[[gnu::always_inline]] inline Ahead ahead_of(const Byte* row,
                                             std::ptrdiff_t row_bytes, int n,
                                             RowsAhead later, int end,
                                             const void* next) {
  return {row, distance_of(row, row_bytes, n, later.rows, end, next),
          distance_of(row, row_bytes, n, rows, end, next),
          later.is_by_two_caches};
}

// Asks for the lines of the `bytes` bytes that lie `at` bytes into what is
// ahead. A step takes its rows together, but asks in their order in memory: in
// any other, memory was read a quarter slower.
[[gnu::always_inline]] inline void ask(const Ahead& ahead, std::ptrdiff_t at,
                                       std::ptrdiff_t bytes) {
  const auto line = [&](std::ptrdiff_t from) {
    return reinterpret_cast<const Byte*>(
        reinterpret_cast<std::uintptr_t>(ahead.row) +
        static_cast<std::uintptr_t>(from + at));
  };
  if (ahead.is_by_two_caches) {
    for (std::ptrdiff_t i = 0; i < bytes; i += kLine) {
      ask_for_lines(line(ahead.near + i), line(ahead.far + i));
    }
  } else {
    for (std::ptrdiff_t i = 0; i < bytes; i += kLine) {
      ask_for_line(line(ahead.far + i));
    }
  }
}

// Calls multiply(slab, first, last) for every slab of rows of x and
// blocks [first, last) of rows of w: of more than one slab, all take a block
// from the nearest cache before the next is read.
template <typename Multiply>
void for_each_block(int slabs, const WeightRun& run, std::ptrdiff_t row_bytes,
                    const Multiply& multiply) {
  constexpr int kBlockBytes = 16 * 1024;
  constexpr int kStep = 4;
  const auto fitting = static_cast<int>(kBlockBytes / row_bytes);
  const int step = fitting < kStep ? kStep : fitting / kStep * kStep;
  for (int first = run.begin; first < run.end;) {
    const int last = slabs == 1 ? run.end : smaller(run.end, first + step);
    for (int slab = 0; slab < slabs; ++slab) multiply(slab, first, last);
    first = last;
  }
}

}  // namespace
}  // namespace llamlx
