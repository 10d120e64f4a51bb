#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace llamlx {

/// MLX's ways to pack a weight, by its own names. Neighbours of a row that form
/// a group share a scale, and in affine mode a bias.
enum class QuantizationMode {
  affine,  ///< scale * q + bias, q in [0, 2^bits)
  mxfp4,   ///< scale * a number of 4 bits (e2m1); the scale a power of two
  mxfp8,   ///< scale * a number of 8 bits (e4m3); the scale a power of two
  nvfp4,   ///< scale * a number of 4 bits (e2m1); the scale one of 8 (e4m3)
};

/// How a weight is packed.
struct Quantization {
  int bits = 4;
  int group_size = 64;
  QuantizationMode mode = QuantizationMode::affine;

  /// Whether scales and biases are of the type of the values. In other modes a
  /// scale is a byte, whatever that type, and there are no biases.
  bool is_affine() const { return mode == QuantizationMode::affine; }
  bool operator==(const Quantization&) const = default;
};

/// What MLX takes in this mode where nothing else is said.
Quantization default_quantization(QuantizationMode mode);

/// True for what MLX's kernels take: in affine mode 2, 3, 4, 5, 6 or 8 bits in
/// groups of 32, 64 or 128, in the others the defaults alone.
bool is_supported(const Quantization& quantization);

/// The same for people: "mxfp4 takes 4 bits in groups of 32".
std::string what_is_supported(QuantizationMode mode);

/// The mode called `name`; empty when there is none.
std::optional<QuantizationMode> quantization_mode(std::string_view name);

/// "affine".
std::string to_string(QuantizationMode mode);

/// "affine 4-bit, group 64".
std::string to_string(const Quantization& quantization);

}  // namespace llamlx
