#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include <mlx/array.h>

#include "base/mapped_file.h"

namespace llamlx {

namespace mx = mlx::core;

/// An array of `shape` and `dtype` whose values are `bytes` of `file`, row by
/// row, little end first. On MLX's CPU backend nothing is copied: the array
/// stands on the mapping and shares in owning it, and when it dies the pages
/// are let go. `bytes` that are not aligned for `dtype`, and devices with
/// memory of their own, get a copy. Evaluated.
///
/// `bytes.size()` must be what shape and dtype need, and lie in `file`.
/// Errors: Error (out_of_memory).
mx::array mapped_array(const std::shared_ptr<const MappedFile>& file,
                       std::span<const std::byte> bytes, mx::Shape shape,
                       mx::Dtype dtype);

/// How many bytes of a file are copied before their pages are let go: so many
/// stand in memory beside the copy.
inline constexpr std::size_t kReleasedPiece = std::size_t{16} << 20;

}  // namespace llamlx
