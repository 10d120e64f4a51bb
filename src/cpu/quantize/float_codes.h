#pragma once

#include <cstdint>

#include "cpu/quantize/quantize.h"

namespace llamlx {

/// Weights packed as numbers of 4 and 8 bits: made of values, and in the forms
/// that products read. MLX's modes mxfp4, mxfp8 and nvfp4 (Open Compute
/// Project, "Microscaling Formats"; a group of nvfp4 is 16 numbers, of the
/// others 32).
///
/// Numbers of a row lie one behind another, those of 4 bits (e2m1) low half
/// first. Scales are powers of two, 2^(scale - 127), or in nvfp4 numbers of 8
/// bits (e4m3). A power of 255 is read as infinity, as MLX does.
/// Threads  any, on groups of their own.

inline constexpr int kMxGroup = 32;
inline constexpr int kNvGroup = 16;

/// Quantises `groups` groups of values of type `source`, first rounding each to
/// `type`, bit by bit as mx::quantize does on a CPU with the values cast to
/// `type`: it rounds every step to that. `out` gets codes, a byte a group as
/// scale, and no biases. Finiteness::result is that of the values in `type`;
/// bits are promised where all are finite.
using QuantizeNumbers = Finiteness (*)(const void* values, ValueType source,
                                       ValueType type, std::int64_t groups,
                                       const QuantizedRows& out);

Finiteness quantize_mxfp4(const void* values, ValueType source, ValueType type,
                          std::int64_t groups, const QuantizedRows& out);
Finiteness quantize_mxfp8(const void* values, ValueType source, ValueType type,
                          std::int64_t groups, const QuantizedRows& out);
Finiteness quantize_nvfp4(const void* values, ValueType source, ValueType type,
                          std::int64_t groups, const QuantizedRows& out);

/// mxfp4 in MLX's affine scheme, 5 bits in groups of 32: twice a number is a
/// whole one from -12 to 12. `out` gets 20 bytes a group, and a scale and a
/// bias in bf16. Nothing is rounded. Scales from 252 on, by which affine codes
/// go beyond float32, give an infinite bias.
void mxfp4_as_affine(const std::uint8_t* codes, const std::uint8_t* scales,
                     std::int64_t groups, const QuantizedRows& out);

/// mxfp8 as numbers in bf16: exact, down to its smallest (2^-133).
void mxfp8_as_bf16(const std::uint8_t* codes, const std::uint8_t* scales,
                   std::int64_t groups, std::uint16_t* out);

/// nvfp4 as numbers in bf16, exactly.
void nvfp4_as_bf16(const std::uint8_t* codes, const std::uint8_t* scales,
                   std::int64_t groups, std::uint16_t* out);

}  // namespace llamlx
