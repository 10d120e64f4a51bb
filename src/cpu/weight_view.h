#pragma once

#include <cstddef>

namespace llamlx {

/// How a number is stored.
enum class ValueType : unsigned char { f32, f16, bf16 };

constexpr std::size_t size_of(ValueType type) {
  return type == ValueType::f32 ? 4 : 2;
}

/// How the values of a weight are stored: as they are, or in MLX's "affine"
/// scheme: w = scale * q + bias for every `group_size` neighbours of a row.
struct WeightFormat {
  ValueType values;  ///< of the weight, or of its scales and biases
  int bits;          ///< 2, 3, 4, 5, 6, 8; 0: not quantised
  int group_size;    ///< 32, 64, 128; 0: not quantised

  bool operator==(const WeightFormat&) const = default;
};

/// A weight [rows, cols] where it lies; kernels read it in place.
///
/// Layout   rows one after another without gaps. Not quantised: `data` are the
/// values. Quantised: `data` [rows, cols * bits / 32] are 32-bit words, packed
/// as mx::quantize packs them (a row is one stream of bits, low bits first);
/// scales and biases are [rows, cols / group_size]. All are aligned for their
/// element, no more.
struct WeightView {
  WeightFormat format;
  int rows;
  int cols;
  const void* data;
  const void* scales;  ///< null: not quantised
  const void* biases;

  /// Bytes from one row of `data` to the next.
  std::size_t row_bytes() const {
    const auto count = static_cast<std::size_t>(cols);
    return format.bits == 0 ? count * size_of(format.values)
                            : count * static_cast<std::size_t>(format.bits) / 8;
  }

  /// The same, of `scales` and of `biases`.
  std::size_t scale_row_bytes() const {
    return static_cast<std::size_t>(cols / format.group_size) *
           size_of(format.values);
  }
};

/// Where rows of a weight begin.
struct WeightStart {
  const void* data = nullptr;
  const void* scales = nullptr;
  const void* biases = nullptr;
};

/// Of row `row`.
inline WeightStart start_of(const WeightView& w, int row) {
  const auto at = [&](const void* part, std::size_t row_bytes) {
    return static_cast<const std::byte*>(part) +
           static_cast<std::size_t>(row) * row_bytes;
  };
  WeightStart start{at(w.data, w.row_bytes())};
  if (w.format.bits != 0) {
    start.scales = at(w.scales, w.scale_row_bytes());
    start.biases = at(w.biases, w.scale_row_bytes());
  }
  return start;
}

/// Rows [begin, end) of a weight, and what their reader reads after them.
struct WeightRun {
  int begin;
  int end;
  WeightStart next = {};  ///< null: nothing
};

}  // namespace llamlx
