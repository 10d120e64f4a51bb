#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "formats/gguf_reader.h"
#include "tensor/weight.h"

namespace llamlx {

/// How one tensor of a GGUF file is held once it is read.
struct GgufWeightFormat {
  mx::Dtype dtype;  ///< of the values, or of scales and biases when quantised
  std::optional<Quantization> quantization = {};
};

/// The format read_gguf_weight() gives `tensor`:
///
/// - F32, F16, BF16: dense, as they are;
/// - Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K of two or more dimensions: affine
///   in groups of 32 with 4, 5 or 8 bits, of float16 scales and biases;
/// - Q2_K, Q3_K, Q6_K, whose groups are of 16: dense float16;
/// - quantised vectors (a norm, a bias): dense float32.
///
/// Errors: Error (unsupported) naming file, tensor and type for all others.
GgufWeightFormat gguf_weight_format(const GgufFile& file,
                                    const GgufTensor& tensor);

/// Reads `tensor` in the format that gguf_weight_format() tells. Evaluated.
///
/// Values   those that GGML computes in float32 (formats/ggml_blocks.h). Of
///          K-quants held in float16, scales and biases (Q4_K, Q5_K) or values
///          are rounded to its 11 bits.
/// Order    Row i of the result is row row_order[i] of the file; an empty
///          `row_order` keeps the order. Rows are those of the first axis.
/// Errors   Error: corrupt_file for a scale that is not finite, unsupported for
///          other types and for numbers that float16 does not hold,
///          out_of_memory; std::invalid_argument for a row_order of another
///          length than the first axis.
/// Threads  any.
/// Source   mx::quantize for packing.
Weight read_gguf_weight(const GgufFile& file, const GgufTensor& tensor,
                        std::span<const std::int32_t> row_order = {});

}  // namespace llamlx
