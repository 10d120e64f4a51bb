#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
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

/// An array of `shape` and `dtype` in memory of its own, whose bytes, row by
/// row, `fill` writes. Evaluated.
///
/// Errors: Error (out_of_memory) naming `path`, where the values come from;
/// what `fill` throws.
mx::array filled_array(const std::filesystem::path& path, mx::Shape shape,
                       mx::Dtype dtype,
                       const std::function<void(std::span<std::byte>)>& fill);

/// How many bytes of a file are copied before their pages are let go: so many
/// stand in memory beside the copy.
inline constexpr std::size_t kCopiedPiece = std::size_t{16} << 20;

}  // namespace llamlx
