#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/random_checkpoint.h"

namespace llamlx {

/// A checkpoint for tests of conversions: random values in memory, with the
/// outside of any format.
struct MemoryCheckpoint final : public Checkpoint {
  explicit MemoryCheckpoint(Json config = RandomCheckpoint::tiny_config())
      : tensors(std::move(config)) {}

  /// Casts every dense parameter.
  void cast_all(mx::Dtype dtype) {
    for (const WeightInfo& info : std::vector(tensors.weights())) {
      if (info.quantization) continue;
      tensors.put(info.name, mx::astype(tensors.load(info).data, dtype));
    }
  }

  mx::array value(const std::string& name) const {
    return tensors.load(*find(name)).data;
  }

  const std::filesystem::path& path() const override { return place; }
  std::vector<std::filesystem::path> weight_files() const override {
    return {place};
  }
  std::string_view format() const override { return kind; }
  const Json& config() const override { return tensors.config(); }
  const std::optional<OrderedJson>& params() const override {
    return meta_params;
  }
  const std::vector<WeightInfo>& weights() const override {
    return tensors.weights();
  }
  Weight load(const WeightInfo& info) const override {
    return tensors.load(info);
  }
  int pieces_of(const WeightInfo& info) const override {
    return is_apart && info.shape.size() == 3 ? info.shape.front() : 1;
  }
  Weight load_piece(const WeightInfo& info, int piece) const override {
    return slice_rows(load(info), piece, piece + 1);
  }
  std::vector<SideFile> side_files() const override { return files; }
  const std::vector<std::string>& notices() const override { return told; }

  RandomCheckpoint tensors;
  std::filesystem::path place = "source";
  std::string kind = "safetensors";
  bool is_apart = false;  ///< experts are stored one by one
  std::optional<OrderedJson> meta_params;
  std::vector<SideFile> files;
  std::vector<std::string> told;
};

}  // namespace llamlx
