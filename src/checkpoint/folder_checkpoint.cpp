#include "checkpoint/folder_checkpoint.h"

#include <algorithm>
#include <array>
#include <system_error>

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

class FolderCheckpoint final : public Checkpoint {
 public:
  // The weights are looked for first: of a folder in another format, that is
  // what its owner needs to hear.
  explicit FolderCheckpoint(const fs::path& folder)
      : folder_(folder), shards_(folder), config_(read_config(folder)) {
    const QuantizationConfig quantization(config_,
                                          (folder / "config.json").string());
    weights_ = list_weights(shards_.tensors(), quantization);
  }

  const fs::path& path() const override { return folder_; }
  std::vector<fs::path> weight_files() const override {
    return shards_.files();
  }
  std::string_view format() const override { return "safetensors"; }
  const Json& config() const override { return config_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  const std::vector<std::string>& notices() const override {
    return shards_.notices();
  }

  Weight load(const WeightInfo& info) const override {
    return load_weight(shards_.tensors(), info);
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
