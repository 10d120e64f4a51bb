#include "checkpoint/folder_checkpoint.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/quantization_config.h"
#include "checkpoint/shard_set.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;

constexpr std::array kSideFiles = {
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
};

Json read_config(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::exists(folder / "config.json", ignored)) {
    fail(ErrorCode::not_found, (folder / "config.json").string(),
         "is missing, so nothing says what model this is",
         "download it from the model's source");
  }
  return read_json_file(folder / "config.json");
}

bool is_weight_type(const std::optional<mx::Dtype>& dtype) {
  return dtype == mx::float16 || dtype == mx::bfloat16 || dtype == mx::float32;
}

/// Finds the weights among a folder's tensors and checks them.
class WeightLister {
 public:
  WeightLister(const ShardSet& shards, const QuantizationConfig& quantization)
      : shards_(shards), quantization_(quantization) {}

  std::vector<WeightInfo> list() const {
    std::vector<WeightInfo> weights;
    for (const auto& [name, found] : shards_.tensors()) {
      if (name.ends_with(".rotary_emb.inv_freq")) continue;
      const auto module = module_of(name);
      if (module.empty() || !is_quantised(module)) {
        weights.push_back(dense(found));
      } else if (name.ends_with(".weight")) {
        weights.push_back(quantised(module, found));
      }
    }
    return weights;
  }

 private:
  /// The module that `name` is a part of, if that part may be of a quantised
  /// weight.
  static std::string module_of(const std::string& name) {
    for (const std::string_view part : {".weight", ".scales", ".biases"}) {
      if (!name.ends_with(part)) continue;
      return name.substr(0, name.size() - part.size());
    }
    return {};
  }

  bool is_quantised(const std::string& module) const {
    return shards_.find(module + ".scales") != nullptr &&
           shards_.find(module + ".weight") != nullptr;
  }

  static WeightInfo dense(const ShardTensor& found) {
    const auto& tensor = *found.tensor;
    if (!is_weight_type(tensor.dtype)) {
      const bool packed = tensor.dtype == mx::uint32;
      fail(ErrorCode::unsupported, found.file->path().string(),
           concat("tensor ", tensor.name, " has the type ", tensor.dtype_name,
                  packed ? " of packed weights, but no scales" : ""),
           "give weights in F16, BF16 or F32, or quantised by MLX");
    }
    return {tensor.name, tensor.shape, *tensor.dtype};
  }

  WeightInfo quantised(const std::string& module,
                       const ShardTensor& weight) const {
    const auto& scales = *shards_.find(module + ".scales");
    const auto* biases = shards_.find(module + ".biases");
    const auto settings = quantization_.of(module);
    if (biases == nullptr) {
      refuse(weight, "is quantised, but has scales and no biases");
    }
    check_types(weight, scales, *biases);
    auto shape = check_shapes(weight, scales, *biases, settings);
    return {weight.tensor->name, std::move(shape), *scales.tensor->dtype,
            settings};
  }

  static void check_types(const ShardTensor& weight, const ShardTensor& scales,
                          const ShardTensor& biases) {
    if (weight.tensor->dtype != mx::uint32) {
      refuse(weight, concat("has scales, but the type ",
                            weight.tensor->dtype_name, " and not U32"));
    }
    if (!is_weight_type(scales.tensor->dtype) ||
        scales.tensor->dtype != biases.tensor->dtype) {
      refuse(weight, concat("has scales of type ", scales.tensor->dtype_name,
                            " and biases of type ", biases.tensor->dtype_name));
    }
  }

  /// Returns the logical shape.
  static mx::Shape check_shapes(const ShardTensor& weight,
                                const ShardTensor& scales,
                                const ShardTensor& biases,
                                const Quantization& settings) {
    auto shape = weight.tensor->shape;
    auto groups = scales.tensor->shape;
    const bool same_rank = shape.size() >= 2 && shape.size() == groups.size();
    if (!same_rank ||
        !std::equal(shape.begin(), shape.end() - 1, groups.begin())) {
      refuse(weight,
             concat("of shape ", to_string(shape),
                    " does not fit scales of shape ", to_string(groups)));
    }
    if (biases.tensor->shape != groups) {
      refuse(weight,
             concat("has scales of shape ", to_string(groups),
                    " and biases of shape ", to_string(biases.tensor->shape)));
    }
    const auto columns = std::int64_t{groups.back()} * settings.group_size;
    const auto packed_bits = std::int64_t{shape.back()} * 32;
    if (packed_bits != columns * settings.bits ||
        !std::in_range<mx::ShapeElem>(columns)) {
      refuse(weight,
             concat("of shape ", to_string(shape), " with scales of shape ",
                    to_string(groups), " is not ", settings.bits,
                    " bits in groups of ", settings.group_size));
    }
    shape.back() = static_cast<mx::ShapeElem>(columns);
    return shape;
  }

  [[noreturn]] static void refuse(const ShardTensor& weight,
                                  std::string_view cause) {
    fail(ErrorCode::mismatch, weight.file->path().string(),
         concat("tensor ", weight.tensor->name, " ", cause),
         "take weights and config.json from one source");
  }

  const ShardSet& shards_;
  const QuantizationConfig& quantization_;
};

class FolderCheckpoint final : public Checkpoint {
 public:
  // The weights are looked for first: of a folder in another format, that is
  // what its owner needs to hear.
  explicit FolderCheckpoint(const fs::path& folder)
      : folder_(folder), shards_(folder), config_(read_config(folder)) {
    const QuantizationConfig quantization(config_,
                                          (folder / "config.json").string());
    weights_ = WeightLister(shards_, quantization).list();
  }

  const fs::path& path() const override { return folder_; }
  std::string_view format() const override { return "safetensors"; }
  const Json& config() const override { return config_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  const std::vector<std::string>& notices() const override {
    return shards_.notices();
  }

  Weight load(const WeightInfo& info) const override {
    const auto* data = shards_.find(info.name);
    if (data == nullptr) {
      throw std::invalid_argument(concat(
          "[Checkpoint::load] expected one of weights(), got ", info.name));
    }
    if (!info.quantization) return {data->read()};
    constexpr std::string_view kPart = ".weight";
    const auto module = info.name.substr(0, info.name.size() - kPart.size());
    return {data->read(), shards_.find(module + ".scales")->read(),
            shards_.find(module + ".biases")->read(), info.quantization};
  }

  std::vector<SideFile> side_files() const override {
    std::vector<SideFile> files;
    std::error_code error;
    auto entry = fs::directory_iterator(folder_, error);
    while (!error && entry != fs::directory_iterator()) {
      const auto& path = entry->path();
      const auto name = path.filename().string();
      if (std::ranges::count(kSideFiles, name) > 0 ||
          path.extension() == ".tiktoken") {
        files.push_back({name, path});
      }
      entry.increment(error);
    }
    if (error) fail_errno(error.value(), folder_, "read the folder");
    std::ranges::sort(files, {}, &SideFile::name);
    return files;
  }

 private:
  fs::path folder_;
  ShardSet shards_;
  Json config_;
  std::vector<WeightInfo> weights_;
};

}  // namespace

std::unique_ptr<Checkpoint> open_folder_checkpoint(const fs::path& folder) {
  return std::make_unique<FolderCheckpoint>(folder);
}

}  // namespace llamlx
