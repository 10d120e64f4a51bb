#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include <mlx/dtype.h>

namespace llamlx {

/// A type of value as torch names it.
struct TorchDtype {
  std::string_view name;     ///< e.g. "bfloat16", of torch.bfloat16
  std::string_view storage;  ///< e.g. "BFloat16Storage"; empty: it has none
  std::size_t size;          ///< bytes of one value
  /// The same type in MLX; empty for those it has not.
  std::optional<mlx::core::Dtype> dtype;
};

/// Every type torch saves tensors of, but for its quantized ones.
std::span<const TorchDtype> torch_dtypes();

/// The type torch calls `name`, or nullptr.
const TorchDtype* find_torch_dtype(std::string_view name);

/// The type of the values in a `storage` (a class's name), or nullptr. The
/// values of UntypedStorage are bytes.
const TorchDtype* find_torch_storage(std::string_view storage);

}  // namespace llamlx
