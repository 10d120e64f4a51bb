#pragma once

#include <cstddef>
#include <vector>

#include <mlx/array.h>

namespace llamlx {

namespace mx = mlx::core;

/// The values of an evaluated array as they lie row by row: its own memory, or
/// a copy when it lies otherwise (a transposed one, say).
template <typename T>
class RowsOf {
 public:
  explicit RowsOf(const mx::array& x) : data_(x.data<T>()) {
    if (x.flags().row_contiguous) return;
    copy_.reserve(x.size());
    append(x, 0, data_);
    data_ = copy_.data();
  }
  RowsOf(const RowsOf&) = delete;
  RowsOf& operator=(const RowsOf&) = delete;

  const T* data() const { return data_; }

 private:
  void append(const mx::array& x, int axis, const T* at) {
    if (axis == static_cast<int>(x.ndim())) {
      copy_.push_back(*at);
      return;
    }
    for (int i = 0; i < x.shape(axis); ++i) {
      append(x, axis + 1, at + i * x.strides(axis));
    }
  }

  const T* data_;
  std::vector<T> copy_;
};

template <typename T>
RowsOf<T> rows_of(const mx::array& x) {
  return RowsOf<T>(x);
}

}  // namespace llamlx
