#pragma once

#include <cstddef>
#include <cstdint>

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
  int bits;          ///< 2, 3, 4, 5, 6, 8; 0: as they are; 12: kPackedBf16
  int group_size;    ///< 32, 64, 128; 0: not quantised

  bool operator==(const WeightFormat&) const = default;
};

/// bf16 in 12 bits without loss (packed_bf16/packed_bf16.h).
inline constexpr WeightFormat kPackedBf16{ValueType::bf16, 12, 0};
inline constexpr int kPackedRows = 4;   // that lie together, a "band"
inline constexpr int kPackedCols = 64;  // of each of them, then the next 64
inline constexpr int kPackedBytes = kPackedRows * kPackedCols * 12 / 8;

/// What a weight in kPackedBf16 has beside its codes.
struct PackedBf16Rest {
  std::uint8_t tops[16];  ///< the high byte that each code stands for
  /// For every band a list of what codes cannot tell: piece * kPackedRows + row
  /// for the columns [piece, piece + 1) * kPackedCols of a row of the band, in
  /// order, with UINT32_MAX at its end. List b begins at `untold[first[b]]`.
  const std::uint32_t* first;
  const std::uint32_t* untold;
  /// Their values, kPackedCols each, in the order of the lists: those of band b
  /// begin with number first[b] - b, as each band before has an end in its
  /// list.
  const std::uint16_t* values;
};

/// A weight [rows, cols] where it lies; kernels read it in place.
///
/// Layout   rows one after another without gaps. Not quantised: `data` are the
/// values. Quantised: `data` [rows, cols * bits / 32] are 32-bit words, packed
/// as mx::quantize packs them (a row is one stream of bits, low bits first);
/// scales and biases are [rows, cols / group_size]. All are aligned for their
/// element, no more. kPackedBf16: `data` are bands of rows, aligned to 64.
struct WeightView {
  WeightFormat format;
  int rows;
  int cols;
  const void* data;
  const void* scales;  ///< null: not quantised
  const void* biases;
  const PackedBf16Rest* rest = nullptr;  ///< of kPackedBf16

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
  if (w.format.group_size != 0) {
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
