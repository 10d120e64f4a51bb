#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <mlx/array.h>

namespace llamlx {

namespace mx = mlx::core;

/// What a file says of one of its tensors.
struct TensorEntry {
  std::string name;
  std::string dtype_name;          ///< as the file writes it, e.g. "BF16"
  std::optional<mx::Dtype> dtype;  ///< empty: MLX holds no such type
  mx::Shape shape;
};

/// A file of named tensors, whatever its format: opened and checked at once,
/// read tensor by tensor.
///
/// Errors: Error, naming the file and the tensor.
/// Threads: const members may be called from several threads.
class TensorFile {
 public:
  virtual ~TensorFile() = default;

  virtual const std::filesystem::path& path() const = 0;

  /// Sorted by name; no name occurs twice.
  virtual const std::vector<TensorEntry>& tensors() const = 0;

  /// The values of `entry`, an element of tensors(), row by row. Evaluated.
  /// Where the file's bytes can serve as they are they do: the array then
  /// stands on the mapped file and keeps it open, and the pages it read are let
  /// go when it dies.
  /// Errors: Error (unsupported) naming a type MLX does not hold;
  /// corrupt_file; out_of_memory.
  virtual mx::array read(const TensorEntry& entry) const = 0;

  /// A checksum that the file keeps of `entry`, type and shape included:
  /// tensors with different ones differ. Empty where it keeps none.
  virtual std::optional<std::uint32_t> checksum(
      const TensorEntry& /*entry*/) const {
    return {};
  }

  /// Oddities of the file that do not stop anything, a line each.
  virtual const std::vector<std::string>& notices() const;

  /// The element of tensors() called `name`, or nullptr.
  const TensorEntry* find(std::string_view name) const;
};

}  // namespace llamlx
