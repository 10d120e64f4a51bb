#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <mlx/array.h>

#include "tensor/quantization.h"

namespace llamlx {

namespace mx = mlx::core;

/// What a weight's values are stored, or held in memory, as.
struct ValueFormat {
  mx::Dtype dtype;  ///< as Weight::dtype()
  std::optional<Quantization> quantization = {};
};

/// One parameter of a model: dense, or quantised along its last axis.
///
/// Shapes   dense: data is the logical shape [..., K]. Quantised: data is
/// uint32
///          [..., K * bits / 32] packed as mx::quantize packs it (low bits
///          first); scales are [..., K / group_size], and so are biases, which
///          affine mode alone has. Its scales are of the values' type, those of
///          the other modes uint8.
struct Weight {
  mx::array data;
  std::optional<mx::array> scales = {};
  std::optional<mx::array> biases = {};
  std::optional<Quantization> quantization = {};

  /// The shape before packing.
  mx::Shape shape() const;
  /// The type of the values: of data, or of scales when quantised; in the modes
  /// whose scales are bytes bfloat16, which has room for all their values but
  /// the smallest of mxfp8.
  mx::Dtype dtype() const;
  std::size_t nbytes() const;
};

/// The arrays a weight is made of, in the order of their names: biases and
/// scales, where it has them, and data.
std::vector<mx::array> parts_of(const Weight& weight);

/// Quantises `dense` [..., K] with mx::quantize. K must be a multiple of the
/// group size. Lazy.
Weight quantize(const mx::array& dense, const Quantization& quantization);

/// The weight's values as a dense array of `dtype`; products and sums are taken
/// in float32. Lazy.
mx::array dequantize(const Weight& weight, mx::Dtype dtype);

/// The same weight with its values (dense), or scales and biases (quantised),
/// as `dtype`. Scales that are bytes stay what they are. Lazy.
Weight astype(const Weight& weight, mx::Dtype dtype);

/// An array in memory whose values are still to be written.
mx::array new_array(const mx::Shape& shape, mx::Dtype dtype);

/// The values, evaluated and row by row in memory; copied only if they are not.
mx::array row_by_row(const mx::array& values);

/// Rows [begin, end) of the first axis. Lazy.
Weight slice_rows(const Weight& weight, int begin, int end);

/// The same weight as a matrix: rows of all axes but the last, one after
/// another. Lazy.
Weight join_rows(const Weight& weight);

/// The same weight with one more axis before the others: [1, ...]. Lazy.
Weight as_one_of_many(const Weight& weight);

/// Rows of the first axis in the order of `indices` [N], int32. Lazy.
Weight take_rows(const Weight& weight, const mx::array& indices);

/// Names of types as config files write them: "float16", "bfloat16", "float32".
std::string to_string(mx::Dtype dtype);

/// The floating type named `name`, empty when it is not one of the three above.
std::optional<mx::Dtype> float_dtype(std::string_view name);

/// The bytes that a weight of this logical shape takes.
std::uint64_t stored_bytes(const mx::Shape& shape, const ValueFormat& format);

/// Number of elements of a shape, in 64 bits (mx::array::size of a large
/// parameter fits; products of int do not).
std::int64_t element_count(const mx::Shape& shape);

/// A shape as people write it: "[49152, 576]".
std::string to_string(const mx::Shape& shape);

}  // namespace llamlx
