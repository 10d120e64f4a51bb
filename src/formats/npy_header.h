#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <mlx/array.h>

namespace llamlx {

/// What stands before the values of an array in numpy's format.
struct NpyHeader {
  std::string dtype_name;  ///< as the file writes it, e.g. "<f4"
  mlx::core::Dtype dtype = mlx::core::float32;
  bool is_fortran = false;  ///< values lie column by column
  mlx::core::Shape shape;
};

/// Whose header it is, for messages.
struct NpySubject {
  const std::filesystem::path& file;
  std::string_view entry;
};

/// Throws Error (corrupt_file) saying what is wrong with an entry.
[[noreturn]] void refuse_npy(const NpySubject& subject, std::string_view cause);

/// The bytes that say how long a header is; every .npy has as many.
inline constexpr std::size_t kNpyPrefixSize = 12;

/// The size of the header that begins with `prefix`, kNpyPrefixSize bytes.
std::uint64_t npy_header_size(const NpySubject& subject,
                              std::string_view prefix);

/// Reads a whole header as data: versions 1, 2 and 3, keys in any order.
///
/// Layout   "\x93NUMPY", u8 major, u8 minor version; u16 (from version 2 on
///          u32) length of what follows: {'descr': '<f4', 'fortran_order':
///          False, 'shape': (2, 3), }, spaces and a line break; the values.
/// Types    numbers and booleans, little end first, and "V2", which MLX writes
///          for bfloat16.
/// Errors   Error naming file and entry: corrupt_file; unsupported, naming it,
///          for big-endian values, Python objects and all other types.
/// Source
/// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
NpyHeader parse_npy_header(const NpySubject& subject, std::string_view header);

/// The header numpy writes for row-major values of this type and shape,
/// version 1, a multiple of 64 bytes long.
/// Errors: std::invalid_argument for more dimensions than it can tell of.
std::string npy_header_text(mlx::core::Dtype dtype,
                            const mlx::core::Shape& shape);

}  // namespace llamlx
