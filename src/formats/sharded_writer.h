#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <mlx/array.h>

#include "formats/safetensors_writer.h"

namespace llamlx {

/// The weights of a model folder as mlx_lm writes them: model.safetensors, or
/// model-00001-of-0000N.safetensors when they are larger than one shard, and
/// always model.safetensors.index.json.
///
/// A shard takes the next tensors of the plan for as long as their bytes stay
/// within `max_shard_bytes`; a larger tensor gets a shard of its own. One shard
/// is open at a time. Errors: as SafetensorsWriter; the plan must not be empty.
class ShardedWriter {
 public:
  static constexpr std::uint64_t kMaxShardBytes = std::uint64_t{5} << 30;

  /// `total_parameters` counts the model's values before packing; it is what
  /// the index tells.
  ShardedWriter(std::filesystem::path folder, std::vector<PlannedTensor> plan,
                std::int64_t total_parameters,
                std::uint64_t max_shard_bytes = kMaxShardBytes);

  /// The bytes of all tensors, headers not counted.
  std::uint64_t total_size() const { return total_size_; }

  /// Writes the next tensor of the plan. Evaluates `values`.
  void append(std::string_view name, const mx::array& values);

  /// Brings the last shard and the index to the disk.
  void finish();

 private:
  std::string shard_name(std::size_t index) const;

  std::filesystem::path folder_;
  std::vector<std::vector<PlannedTensor>> shards_;
  std::int64_t total_parameters_;
  std::uint64_t total_size_ = 0;
  std::size_t shard_ = 0;     // the one being written
  std::size_t appended_ = 0;  // tensors of it that are written
  std::unique_ptr<SafetensorsWriter> writer_;
};

}  // namespace llamlx
