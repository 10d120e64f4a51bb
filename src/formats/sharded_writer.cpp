#include "formats/sharded_writer.h"

#include <cstdio>
#include <set>
#include <stdexcept>
#include <utility>

#include "base/concat.h"
#include "base/json.h"

namespace llamlx {
namespace {

/// Cuts the plan into runs of at most `max_bytes`.
std::vector<std::vector<PlannedTensor>> cut(std::vector<PlannedTensor> plan,
                                            std::uint64_t max_bytes) {
  std::vector<std::vector<PlannedTensor>> shards;
  std::uint64_t size = 0;
  for (auto& tensor : plan) {
    const std::uint64_t nbytes = tensor.nbytes();
    if (shards.empty() || size + nbytes > max_bytes) {
      shards.emplace_back();
      size = 0;
    }
    size += nbytes;
    shards.back().push_back(std::move(tensor));
  }
  return shards;
}

void check_names(const std::vector<PlannedTensor>& plan) {
  std::set<std::string_view> names;
  for (const auto& tensor : plan) {
    if (names.insert(tensor.name).second) continue;
    throw std::invalid_argument(
        concat("[ShardedWriter] expected every name once, got ", tensor.name,
               " twice"));
  }
  if (plan.empty()) {
    throw std::invalid_argument("[ShardedWriter] expected tensors, got none");
  }
}

}  // namespace

ShardedWriter::ShardedWriter(std::filesystem::path folder,
                             std::vector<PlannedTensor> plan,
                             std::int64_t total_parameters,
                             std::uint64_t max_shard_bytes)
    : folder_(std::move(folder)), total_parameters_(total_parameters) {
  check_names(plan);
  for (const auto& tensor : plan) total_size_ += tensor.nbytes();
  shards_ = cut(std::move(plan), max_shard_bytes);
}

void ShardedWriter::append(std::string_view name, const mx::array& values) {
  if (shard_ == shards_.size()) {
    throw std::invalid_argument(
        concat("[ShardedWriter] expected no more tensors, got ", name));
  }
  if (!writer_) {
    writer_ = std::make_unique<SafetensorsWriter>(folder_ / shard_name(shard_),
                                                  shards_[shard_]);
  }
  writer_->append(name, values);
  if (++appended_ < shards_[shard_].size()) return;
  writer_->finish();
  writer_.reset();
  appended_ = 0;
  ++shard_;
}

void ShardedWriter::finish() {
  if (shard_ < shards_.size()) {
    throw std::invalid_argument(concat("[ShardedWriter] expected ",
                                       shards_[shard_][appended_].name,
                                       ", got the end"));
  }
  Json weight_map = Json::object();
  for (std::size_t shard = 0; shard < shards_.size(); ++shard) {
    for (const auto& tensor : shards_[shard]) {
      weight_map[tensor.name] = shard_name(shard);
    }
  }
  write_json_file(
      folder_ / "model.safetensors.index.json",
      {{"metadata",
        {{"total_size", total_size_}, {"total_parameters", total_parameters_}}},
       {"weight_map", std::move(weight_map)}});
}

std::string ShardedWriter::shard_name(std::size_t index) const {
  if (shards_.size() == 1) return "model.safetensors";
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors",
                index + 1, shards_.size());
  return name;
}

}  // namespace llamlx
