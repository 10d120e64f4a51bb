#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <mlx/array.h>

#include "base/mapped_file.h"
#include "formats/ggml_type.h"

namespace llamlx {

namespace mx = mlx::core;

/// The types of metadata values; the numbers are the format's.
enum class GgufValueType : std::uint32_t {
  uint8 = 0,
  int8 = 1,
  uint16 = 2,
  int16 = 3,
  uint32 = 4,
  int32 = 5,
  float32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  uint64 = 10,
  int64 = 11,
  float64 = 12,
};

/// One metadata value as it lies in the file. Views into it.
struct GgufValue {
  std::string_view key;
  GgufValueType type;          ///< array, or that of `bytes`
  GgufValueType element_type;  ///< of an array; equal to `type` otherwise
  std::uint64_t count;         ///< of elements; 1 for what is not an array
  std::string_view bytes;      ///< the elements, without the headers above
};

/// One tensor of a GGUF file.
struct GgufTensor {
  std::string_view name;
  const GgmlTypeInfo* type;
  mx::Shape shape;  ///< rows first, as Hugging Face writes it
  std::span<const std::byte> bytes;
};

/// A GGUF file, mapped; everything but the tensors' values is checked when it
/// is opened. Strings stay in the file, so vocabularies of any size are cheap.
///
/// Layout   little end first. "GGUF", u32 version (2 or 3), u64 number of
///          tensors, u64 number of metadata values;
///          metadata: string key, u32 type, value. A string is a u64 length and
///          its bytes; an array is a u32 element type, a u64 count, and the
///          elements;
///          tensors: string name, u32 number of dimensions, u64 dimensions
///          (the one that lies contiguous first), u32 type, u64 offset;
///          padding to a multiple of "general.alignment" (default 32); the
///          data, in which offsets are counted, each a multiple of that too.
/// Checks   every count, length and offset lies within the file before anything
///          is allocated for it; keys and tensor names are unique; dimensions
///          fit an int32 and their products an int64; rows are whole blocks;
///          tensors do not overlap.
/// Errors   Error: not_found, io_error, corrupt_file; unsupported for version
///          1, big-endian files, and tensor types nobody knows.
/// Threads  const members may be called from several threads.
/// Source   https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
class GgufFile {
 public:
  explicit GgufFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  std::uint32_t version() const { return version_; }

  /// Sorted by name.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }

  /// The tensor called `name`, or nullptr.
  const GgufTensor* find(std::string_view name) const;

  /// Sorted by key.
  const std::vector<GgufValue>& metadata() const { return metadata_; }

  /// The metadata value called `key`, or nullptr.
  const GgufValue* find_value(std::string_view key) const;

  /// Reads a metadata value; empty when the file has none of that key.
  ///
  /// T        bool, std::int64_t (from any integer type), double (from any
  ///          number), std::string_view, or std::vector of one of the last
  ///          three. Views live as long as the file.
  /// Errors   Error (corrupt_file) naming file and key when the value is of
  ///          another kind or does not fit.
  template <typename T>
  std::optional<T> get(std::string_view key) const;

  /// As get(), for a key without which nothing can be done: its absence is an
  /// Error (corrupt_file).
  template <typename T>
  T require(std::string_view key) const;

  /// Tells the kernel that the pages of `tensor` will not be read again soon.
  void release(const GgufTensor& tensor) const { file_.release(tensor.bytes); }

 private:
  std::uint64_t alignment() const;

  MappedFile file_;
  std::uint32_t version_ = 0;
  std::vector<GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
};

/// Throws the Error (unsupported) for a tensor whose type cannot be read.
[[noreturn]] void fail_unsupported_type(const std::filesystem::path& file,
                                        std::string_view tensor,
                                        std::string_view type);

}  // namespace llamlx
