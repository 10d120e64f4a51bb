#pragma once

#include <optional>
#include <string_view>

#include <mlx/dtype.h>

namespace llamlx {

/// A type of value as safetensors files name it.
struct SafetensorsDtype {
  std::string_view name;  ///< e.g. "BF16"
  int bits;               ///< of one value; below 8 values share bytes
  /// The same type in MLX; empty for those it has not (F8_*, F6_*, F4) and for
  /// F64, which MLX computes with on the CPU alone.
  std::optional<mlx::core::Dtype> dtype;
};

/// The type a file calls `name`, or nullptr.
const SafetensorsDtype* find_safetensors_dtype(std::string_view name);

/// What a file calls MLX's `dtype`. Errors: std::invalid_argument for float64,
/// which is not written.
std::string_view safetensors_name(mlx::core::Dtype dtype);

}  // namespace llamlx
