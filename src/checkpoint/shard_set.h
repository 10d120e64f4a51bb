#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/tensor_set.h"

namespace llamlx {

struct ShardKind;

/// Whether `folder` holds weight files of any kind that ShardSet opens.
bool holds_shards(const std::filesystem::path& folder);

/// The tensors of a folder's weight files, as one set.
///
/// Files of one kind count: safetensors (`model*.safetensors`), or else torch's
/// (`pytorch_model*.bin`), or else npz (`weights*.npz`). Which of them belong:
/// those the index names (`model.safetensors.index.json`,
/// `pytorch_model.bin.index.json`); without an index the single file
/// (`model.safetensors`, `pytorch_model.bin`, `weights.npz`); without that all
/// that begin as it does, or else, of safetensors, all. With an index, a tensor
/// is taken from the shard the index names. Everything left aside is told in
/// notices().
///
/// Errors: Error naming file and tensor: not_found for a shard that is missing
/// (named by the index, by the "-of-N" of its siblings, or by their numbers);
/// mismatch for a
/// tensor that is not in its shard, or is in two files; corrupt_file for an
/// index that leads out of the folder; unsupported for a folder of weights in
/// another format; and those of the files' readers.
/// Threads: const members may be called from several threads.
class ShardSet {
 public:
  explicit ShardSet(const std::filesystem::path& folder);

  /// "safetensors", "torch" or "npz".
  std::string_view format() const;

  const TensorSet& tensors() const { return tensors_; }
  const std::vector<std::string>& notices() const { return notices_; }

  /// The files that belong, sorted.
  std::vector<std::filesystem::path> files() const;

 private:
  void open_indexed(const std::filesystem::path& index);
  void open_unindexed();
  const TensorFile& open_shard(const std::string& name);
  void note_strays(std::string_view chosen_by);

  std::filesystem::path folder_;
  const ShardKind* kind_ = nullptr;
  std::vector<std::string> present_;  // names of the folder's files of kind_
  std::map<std::string, std::unique_ptr<TensorFile>> shards_;
  TensorSet tensors_;
  std::vector<std::string> notices_;
};

}  // namespace llamlx
