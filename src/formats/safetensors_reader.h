#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <mlx/array.h>

#include "base/mapped_file.h"

namespace llamlx {

namespace mx = mlx::core;

/// One tensor of a safetensors file.
struct SafetensorsTensor {
  std::string name;
  std::string dtype_name;          ///< as the file writes it, e.g. "BF16"
  std::optional<mx::Dtype> dtype;  ///< empty: MLX holds no such type
  mx::Shape shape;
  std::span<const std::byte> bytes;  ///< in the file; of any alignment
};

/// A safetensors file, mapped; its whole header is checked when it is opened.
///
/// Layout   u64 N (little end first); N bytes of JSON, padded with spaces:
///          {"__metadata__": {string: string, ...},
///           "<name>": {"dtype": "BF16", "shape": [2, 3],
///                      "data_offsets": [begin, end]}, ...};
///          then the data: every tensor's values, row by row, little end first,
///          at its offsets counted from the end of the header.
/// Checks   N fits the file and 100 MB; the JSON is valid, shallow and names no
///          key twice; types are known; dimensions fit an int32 and their
///          product an int64; every tensor has as many bytes as its shape
///          needs; together the tensors cover the data once, without overlap,
///          gap or rest, as the format demands. So a file cut short anywhere
///          is told at once.
/// Errors   Error: not_found, io_error, corrupt_file; unsupported for a type
///          this reader has never heard of.
/// Threads  const members may be called from several threads.
/// Source   https://github.com/huggingface/safetensors ("Format" of README.md)
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }

  /// Sorted by name.
  const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }

  /// The strings under "__metadata__".
  const std::map<std::string, std::string>& metadata() const {
    return metadata_;
  }

  /// The tensor called `name`, or nullptr.
  const SafetensorsTensor* find(std::string_view name) const;

  /// Copies the values of one of tensors() out of the file and lets go of the
  /// file's pages, so that only the copy counts as memory. Evaluated.
  /// Errors: Error (unsupported) naming a type MLX does not hold;
  /// out_of_memory.
  mx::array read(const SafetensorsTensor& tensor) const;

 private:
  MappedFile file_;
  std::vector<SafetensorsTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace llamlx
