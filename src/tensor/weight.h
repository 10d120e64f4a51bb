#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <mlx/array.h>

namespace llamlx {

namespace mx = mlx::core;

/// How a weight is packed: MLX's "affine" scheme, w = scale * q + bias for
/// every `group_size` neighbours of a row, q in [0, 2^bits).
struct Quantization {
  int bits = 4;
  int group_size = 64;
  bool operator==(const Quantization&) const = default;
};

/// True for the pairs MLX's kernels take: 2, 3, 4, 5, 6, 8 bits in groups of
/// 32, 64 or 128.
bool is_supported(const Quantization& quantization);

/// One parameter of a model: dense, or quantised along its last axis.
///
/// Shapes   dense: data is the logical shape [..., K]. Quantised: data is
/// uint32
///          [..., K * bits / 32] packed as mx::quantize packs it (low bits
///          first); scales and biases are [..., K / group_size].
struct Weight {
  mx::array data;
  std::optional<mx::array> scales = {};
  std::optional<mx::array> biases = {};
  std::optional<Quantization> quantization = {};

  /// The shape before packing.
  mx::Shape shape() const;
  /// The type of the values: of data, or of scales when quantised.
  mx::Dtype dtype() const;
  std::size_t nbytes() const;
};

/// Quantises `dense` [..., K] with mx::quantize. K must be a multiple of the
/// group size. Lazy.
Weight quantize(const mx::array& dense, const Quantization& quantization);

/// The weight's values as a dense array of `dtype`; products and sums are taken
/// in float32. Lazy.
mx::array dequantize(const Weight& weight, mx::Dtype dtype);

/// The same weight with its values (dense), or scales and biases (quantised),
/// as `dtype`. Lazy.
Weight astype(const Weight& weight, mx::Dtype dtype);

/// The values, evaluated and row by row in memory; copied only if they are not.
mx::array row_by_row(const mx::array& values);

/// Rows [begin, end) of the first axis. Lazy.
Weight slice_rows(const Weight& weight, int begin, int end);

/// Rows of the first axis in the order of `indices` [N], int32. Lazy.
Weight take_rows(const Weight& weight, const mx::array& indices);

/// Names of types as config files write them: "float16", "bfloat16", "float32".
std::string to_string(mx::Dtype dtype);

/// The floating type named `name`, empty when it is not one of the three above.
std::optional<mx::Dtype> float_dtype(std::string_view name);

/// The bytes that a weight of this logical shape takes: `dtype` is of its
/// values, or of its scales and biases when quantised.
std::uint64_t stored_bytes(const mx::Shape& shape, mx::Dtype dtype,
                           const std::optional<Quantization>& quantization);

/// Number of elements of a shape, in 64 bits (mx::array::size of a large
/// parameter fits; products of int do not).
std::int64_t element_count(const mx::Shape& shape);

/// "affine 4-bit, group 64".
std::string to_string(const Quantization& quantization);

/// A shape as people write it: "[49152, 576]".
std::string to_string(const mx::Shape& shape);

}  // namespace llamlx
