#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include <mlx/allocator.h>
#include <mlx/array.h>

namespace llamlx {

namespace mx = mlx::core;

/// Memory for an array whose values are put there byte by byte; freed unless it
/// becomes one.
class ArrayBuffer {
 public:
  /// `what` ("tensor model.norm.weight") is named in errors, with its `file`.
  /// Errors: Error (out_of_memory).
  ArrayBuffer(mx::Shape shape, mx::Dtype dtype,
              const std::filesystem::path& file, std::string_view what);

  /// Row by row, little end first; not initialised.
  std::span<std::byte> values() const;
  std::byte* bytes() const { return values().data(); }

  /// The array, evaluated.
  mx::array finish() &&;

 private:
  mx::Shape shape_;
  mx::Dtype dtype_;
  std::size_t size_;
  mx::allocator::Data data_;
};

}  // namespace llamlx
