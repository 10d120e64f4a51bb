#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include <mlx/array.h>

#include "base/mapped_file.h"

namespace llamlx {

namespace mx = mlx::core;

/// True when the values of `shape` lie row by row, one after another.
bool is_contiguous(const mx::Shape& shape, const mx::Strides& strides);

/// An array of `shape` and `dtype` whose value (i, j, ...) begins
/// (i * strides[0] + j * strides[1] + ...) values after the front of `bytes`,
/// which lie in `file`. Contiguous ones are as mapped_array() has them; others
/// are gathered into memory of their own in the order of the file, whose pages
/// are let go on the way. Evaluated.
///
/// `strides` are as many as the axes of `shape`, none is negative, and every
/// value must lie in `bytes`.
/// Errors: Error (out_of_memory).
mx::array strided_array(const std::shared_ptr<const MappedFile>& file,
                        std::span<const std::byte> bytes,
                        const mx::Shape& shape, const mx::Strides& strides,
                        mx::Dtype dtype);

}  // namespace llamlx
