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
/// - Q4_0, Q4_1, Q8_0 of two or more dimensions: affine in groups of 32 with 4
///   or 8 bits; scales and biases are float16, or float32 where a bias is too
///   large for float16 (which takes a look at every block);
/// - the same of one dimension (a norm, a bias): dense float32.
///
/// Errors: Error (unsupported) naming file, tensor and type for all others.
GgufWeightFormat gguf_weight_format(const GgufFile& file,
                                    const GgufTensor& tensor);

/// Reads `tensor` in the format gguf_weight_format() gave for it. Nothing is
/// lost: the values are exactly those GGML computes in float32. Evaluated.
///
/// Layout   A GGML block is 32 values of a row: a float16 d (Q4_1: and a
///          float16 m), then the integers: Q4_* have value i in the low half
///          of byte i and value i + 16 in the high half; Q8_0 has int8.
///          Q4_0: d * (q - 8)    = scale d, bias -8 d
///          Q4_1: d * q + m      = scale d, bias m
///          Q8_0: d * q          = scale d, bias -128 d, and q + 128 packed
/// Order    Row i of the result is row row_order[i] of the file; an empty
///          `row_order` keeps the order. Rows are those of the first axis.
/// Errors   Error: corrupt_file for a scale that is not finite, out_of_memory;
///          std::invalid_argument for a row_order of
///          another length than the first axis.
/// Threads  any.
/// Source   ggml-common.h and ggml-quants.c of ggml; mx::quantize for packing.
Weight read_gguf_weight(const GgufFile& file, const GgufTensor& tensor,
                        const GgufWeightFormat& format,
                        std::span<const std::int32_t> row_order = {});

}  // namespace llamlx
