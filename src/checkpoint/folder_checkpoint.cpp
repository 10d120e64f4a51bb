#include "checkpoint/folder_checkpoint.h"

#include <algorithm>
#include <array>
#include <system_error>

#include "base/error.h"
#include "checkpoint/shard_set.h"
#include "checkpoint/tensor_set_checkpoint.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;

constexpr std::array kSideFiles = {
    "added_tokens.json",  "chat_template.jinja",
    "chat_template.json", "generation_config.json",
    "merges.txt",         "special_tokens_map.json",
    "tekken.json",        "tokenizer.json",
    "tokenizer.model",    "tokenizer_config.json",
    "vocab.json",         "vocab.txt",
};

class FolderCheckpoint final : public TensorSetCheckpoint {
 public:
  // The weights are looked for first: of a folder in another format, that is
  // what its owner needs to hear.
  explicit FolderCheckpoint(const fs::path& folder)
      : TensorSetCheckpoint(folder), shards_(folder) {
    notices_ = shards_.notices();
    describe("config.json", shards_.tensors(), shards_.format());
  }

  std::vector<fs::path> weight_files() const override {
    return shards_.files();
  }

  std::vector<SideFile> side_files() const override {
    return find_side_files(path());
  }

 private:
  ShardSet shards_;
};

}  // namespace

std::vector<SideFile> find_side_files(const std::filesystem::path& folder) {
  std::vector<SideFile> files;
  std::error_code error;
  auto entry = fs::directory_iterator(folder, error);
  while (!error && entry != fs::directory_iterator()) {
    const auto& path = entry->path();
    const auto name = path.filename().string();
    if (std::ranges::count(kSideFiles, name) > 0 ||
        path.extension() == ".tiktoken" ||
        name.starts_with("tokenizer.model.v")) {
      files.push_back({name, path});
    }
    entry.increment(error);
  }
  if (error) fail_errno(error.value(), folder, "read the folder");
  std::ranges::sort(files, {}, &SideFile::name);
  return files;
}

std::unique_ptr<Checkpoint> open_folder_checkpoint(const fs::path& folder) {
  return std::make_unique<FolderCheckpoint>(folder);
}

}  // namespace llamlx
