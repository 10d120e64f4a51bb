#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "formats/tensor_writer.h"

namespace llamlx {

/// The weights of a model folder as mlx_lm writes them: model.safetensors, or
/// model-00001-of-0000N.safetensors when they are larger than one shard, and
/// always model.safetensors.index.json. Errors: as SafetensorsWriter.
class ShardedWriter final : public ShardedTensorWriter {
 public:
  static constexpr std::uint64_t kMaxShardBytes = std::uint64_t{5} << 30;

  /// `total_parameters` counts the model's values before packing; it is what
  /// the index tells.
  ShardedWriter(std::filesystem::path folder, std::vector<PlannedTensor> plan,
                std::int64_t total_parameters,
                std::uint64_t max_shard_bytes = kMaxShardBytes);

 private:
  std::unique_ptr<FileTensorWriter> open_shard(std::size_t shard) override;
  void finish_folder() override;
  std::string shard_name(std::size_t index) const;

  std::filesystem::path folder_;
  std::int64_t total_parameters_;
};

}  // namespace llamlx
