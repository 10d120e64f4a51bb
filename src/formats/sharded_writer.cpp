#include "formats/sharded_writer.h"

#include <cstdio>
#include <utility>

#include "base/json.h"
#include "formats/safetensors_writer.h"

namespace llamlx {

ShardedWriter::ShardedWriter(std::filesystem::path folder,
                             std::vector<PlannedTensor> plan,
                             std::int64_t total_parameters,
                             std::uint64_t max_shard_bytes)
    : ShardedTensorWriter("ShardedWriter", std::move(plan), max_shard_bytes),
      folder_(std::move(folder)),
      total_parameters_(total_parameters) {}

std::unique_ptr<FileTensorWriter> ShardedWriter::open_shard(std::size_t shard) {
  return std::make_unique<SafetensorsWriter>(folder_ / shard_name(shard),
                                             shards()[shard]);
}

void ShardedWriter::finish_folder() {
  Json weight_map = Json::object();
  for (std::size_t shard = 0; shard < shards().size(); ++shard) {
    for (const auto& tensor : shards()[shard]) {
      weight_map[tensor.name] = shard_name(shard);
    }
  }
  write_json_file(folder_ / "model.safetensors.index.json",
                  {{"metadata",
                    {{"total_size", total_size()},
                     {"total_parameters", total_parameters_}}},
                   {"weight_map", std::move(weight_map)}});
}

std::string ShardedWriter::shard_name(std::size_t index) const {
  if (shards().size() == 1) return "model.safetensors";
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors",
                index + 1, shards().size());
  return name;
}

}  // namespace llamlx
