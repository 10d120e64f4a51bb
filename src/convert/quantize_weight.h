#pragma once

#include <cstdint>
#include <span>

#include <mlx/array.h>

#include "cpu/quantize/quantize.h"
#include "tensor/weight.h"

namespace llamlx {

/// Whether quantize_weight() takes values of this type.
bool is_quantizable(mx::Dtype dtype);

/// What quantize_weight() makes, and whether all went well.
struct QuantizedWeight {
  Weight weight;  ///< evaluated
  Finiteness finiteness;
};

/// Quantises `values` [N, ..., M, K] cast to `dtype`, with the bits of
/// mx::quantize on a CPU, on all threads. Row i of the result is row order[i]
/// of `values`; without an order, row i. Reads the values once, where they lie.
///
/// `values` is evaluated, has two axes or more, and is row by row in memory;
/// both types are quantizable, and K is a multiple of the group size. Errors:
/// std::bad_alloc.
QuantizedWeight quantize_weight(const mx::array& values,
                                std::span<const std::int32_t> order,
                                mx::Dtype dtype,
                                const Quantization& quantization);

}  // namespace llamlx
