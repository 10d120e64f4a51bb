#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/expert_stacks.h"
#include "checkpoint/tensor_set.h"

namespace llamlx {

/// Throws Error (not_found) unless a folder's config file is there.
void require_config(const std::filesystem::path& file);

/// What folders of weights have in common: a config file, and a set of tensors
/// that a derived class opens and keeps open.
class TensorSetCheckpoint : public Checkpoint {
 public:
  const std::filesystem::path& path() const override { return folder_; }
  std::string_view format() const override { return format_; }
  const Json& config() const override { return config_; }
  const std::optional<OrderedJson>& params() const override { return params_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  const std::vector<std::string>& notices() const override { return notices_; }

  Weight load(const WeightInfo& info) const override {
    return load_weight(tensors_, info);
  }

  int pieces_of(const WeightInfo& info) const override {
    return is_stack(tensors_, info) ? info.shape.front() : 1;
  }

  Weight load_piece(const WeightInfo& info, int piece) const override {
    return load_expert(tensors_, info, piece);
  }

 protected:
  explicit TensorSetCheckpoint(std::filesystem::path folder)
      : folder_(std::move(folder)) {}

  /// Reads the config file `name` of the folder, in whose words the names of
  /// `tensors` are, and lists the weights. In npz tied embeddings are stored
  /// twice: where both are equal to the last bit, one is taken.
  /// Errors: Error: not_found without the file; those of list_weights() and
  /// hugging_face_config().
  void describe(const char* name, TensorSet tensors, std::string_view format);

  std::vector<std::string> notices_;

 private:
  std::filesystem::path folder_;
  std::string format_;
  std::optional<OrderedJson> params_;
  Json config_;
  TensorSet tensors_;
  std::vector<WeightInfo> weights_;
};

}  // namespace llamlx
