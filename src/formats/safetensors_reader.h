#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "formats/tensor_file.h"

namespace llamlx {

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
class SafetensorsFile final : public TensorFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const override { return file_->path(); }
  const std::vector<TensorEntry>& tensors() const override { return tensors_; }
  mx::array read(const TensorEntry& entry) const override;

  /// The strings under "__metadata__".
  const std::map<std::string, std::string>& metadata() const {
    return metadata_;
  }

 private:
  std::shared_ptr<const MappedFile> file_;
  std::vector<TensorEntry> tensors_;
  std::vector<std::span<const std::byte>> bytes_;  // of tensors_, in the file
  std::map<std::string, std::string> metadata_;
};

}  // namespace llamlx
