#pragma once

// From a product of few rows to the loop for its width and its rows of x, for
// the kernels over planes (qmv_planes.inl.h). Rows of x are taken kSlabRows at
// a time, a "slab". The file that includes this one has defined before:
//   kSlabRows
//   layout_of(format, cols)  of one prepared row: row_bytes()
//   multiply_rows<bits, x_rows>(w, x, begin, end, run, y, y_stride)  rows
//                            [begin, end) of w times x_rows rows of a slab

#include "cpu/matmul/qmv_planes.inl.h"

namespace llamlx {
namespace {

using Multiply = void (*)(const WeightView&, const Byte*, int, int,
                          const WeightRun&, float*, int);

template <int bits, int x_rows = kSlabRows>
Multiply multiply_of(int rows) {
  if constexpr (x_rows > 1) {
    if (rows < x_rows) return multiply_of<bits, x_rows - 1>(rows);
  }
  return multiply_rows<bits, x_rows>;
}

inline Multiply multiply_of(int bits, int rows) {
  switch (bits) {
    case 2:
      return multiply_of<2>(rows);
    case 3:
      return multiply_of<3>(rows);
    case 4:
      return multiply_of<4>(rows);
    case 5:
      return multiply_of<5>(rows);
    case 6:
      return multiply_of<6>(rows);
    default:
      return multiply_of<8>(rows);
  }
}

inline void multiply(const WeightView& w, const void* prepared, int rows,
                     const WeightRun& run, void* /*scratch*/, float* y,
                     int y_stride) {
  const std::ptrdiff_t slab_bytes =
      kSlabRows * layout_of(w.format, w.cols).row_bytes();
  for_each_block(
      ceil_div(rows, kSlabRows), run, bytes_of_row(w),
      [&](int slab, int first, int last) {
        const std::ptrdiff_t row = std::ptrdiff_t{slab} * kSlabRows;
        multiply_of(w.format.bits,
                    smaller(rows - static_cast<int>(row), kSlabRows))(
            w, static_cast<const Byte*>(prepared) + slab * slab_bytes, first,
            last, run, y + row * y_stride + (first - run.begin), y_stride);
      });
}

inline std::size_t prepared_bytes(const WeightFormat& format, int rows,
                                  int cols) {
  return static_cast<std::size_t>(rows * layout_of(format, cols).row_bytes());
}

}  // namespace
}  // namespace llamlx
