#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/safetensors_reader.h"

namespace llamlx {

/// A tensor and the file it lies in.
struct ShardTensor {
  const SafetensorsFile* file;
  const SafetensorsTensor* tensor;

  mx::array read() const { return file->read(*tensor); }
};

/// The tensors of a folder's safetensors files, as one set.
///
/// Which files belong to it: those model.safetensors.index.json names; without
/// an index model.safetensors; without that all model*.safetensors, or else all
/// *.safetensors. With an index, a tensor is taken from the shard the index
/// names. Everything left aside is told in notices().
///
/// Errors: Error naming file and tensor: not_found for a shard that is missing
/// (named by the index, or by the "-of-N" of its siblings); mismatch for a
/// tensor that is not in its shard, or is in two files; corrupt_file for an
/// index that leads out of the folder; unsupported for a folder of weights in
/// another format; and those of SafetensorsFile.
/// Threads: const members may be called from several threads.
class ShardSet {
 public:
  explicit ShardSet(const std::filesystem::path& folder);

  /// By name.
  const std::map<std::string, ShardTensor, std::less<>>& tensors() const {
    return tensors_;
  }

  /// The tensor called `name`, or nullptr.
  const ShardTensor* find(std::string_view name) const;

  const std::vector<std::string>& notices() const { return notices_; }

 private:
  void open_indexed(const std::filesystem::path& index);
  void open_unindexed();
  const SafetensorsFile& open_shard(const std::string& name);
  void note_strays(std::string_view chosen_by);

  std::filesystem::path folder_;
  std::vector<std::string> present_;  // names of the folder's *.safetensors
  std::map<std::string, std::unique_ptr<SafetensorsFile>> shards_;
  std::map<std::string, ShardTensor, std::less<>> tensors_;
  std::vector<std::string> notices_;
};

}  // namespace llamlx
