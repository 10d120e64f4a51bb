#pragma once

#include <algorithm>
#include <map>

#include <mlx/ops.h>
#include <mlx/random.h>
#include <mlx/transforms.h>

#include "models/tensor_spec.h"

namespace llamlx {

/// A checkpoint in memory with random values, for tests.
///
/// Example:
///     RandomCheckpoint checkpoint(RandomCheckpoint::tiny_config());
///     auto decoder = Decoder::load(checkpoint, mx::float32);
class RandomCheckpoint final : public Checkpoint {
 public:
  /// Two layers, four heads over two key/value heads, 32 tokens.
  static Json tiny_config() {
    return {{"model_type", "llama"},
            {"hidden_size", 32},
            {"intermediate_size", 64},
            {"num_hidden_layers", 2},
            {"num_attention_heads", 4},
            {"num_key_value_heads", 2},
            {"vocab_size", 32},
            {"rms_norm_eps", 1e-5},
            {"tie_word_embeddings", false}};
  }

  explicit RandomCheckpoint(Json config) : config_(std::move(config)) {
    for (const auto& spec : tensor_specs(read_model_config(*this))) {
      const auto key = mx::random::key(tensors_.size());
      put(spec.name, mx::random::normal(spec.shape, mx::float32, 0, 0.3f, key));
    }
  }

  void change_config(const Json& changes) { config_.update(changes); }

  void put(const std::string& name, const mx::array& value) {
    put(name, Weight{value});
  }

  void put(const std::string& name, const Weight& weight) {
    tensors_.insert_or_assign(name, weight);
    refresh();
  }

  void erase(const std::string& name) {
    tensors_.erase(name);
    refresh();
  }

  /// Stores every value as `dtype`.
  void store_as(mx::Dtype dtype) {
    for (auto& [name, weight] : tensors_) weight = astype(weight, dtype);
    refresh();
  }

  /// Quantises every weight that can be.
  void quantize_all(const Quantization& quantization) {
    for (const auto& spec : tensor_specs(read_model_config(*this))) {
      if (!spec.quantizable) continue;
      auto& weight = tensors_.at(spec.name);
      weight = quantize(weight.data, quantization);
    }
    refresh();
  }

  const std::filesystem::path& path() const override { return path_; }
  std::vector<std::filesystem::path> weight_files() const override {
    return {path_};
  }
  std::string_view format() const override { return "memory"; }
  const Json& config() const override { return config_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  Weight load(const WeightInfo& info) const override {
    return tensors_.at(info.name);
  }
  std::vector<SideFile> side_files() const override { return {}; }
  const std::vector<std::string>& notices() const override { return notices_; }

 private:
  void refresh() {
    weights_.clear();
    for (const auto& [name, weight] : tensors_) {
      weights_.push_back(
          {name, weight.shape(), weight.dtype(), weight.quantization});
    }
  }

  std::filesystem::path path_ = "random";
  Json config_;
  std::map<std::string, Weight> tensors_;
  std::vector<WeightInfo> weights_;
  std::vector<std::string> notices_;
};

}  // namespace llamlx
