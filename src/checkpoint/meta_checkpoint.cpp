#include "checkpoint/meta_checkpoint.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/folder_checkpoint.h"
#include "checkpoint/meta_shards.h"
#include "checkpoint/tensor_set_checkpoint.h"
#include "formats/safetensors_reader.h"
#include "formats/torch_reader.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStem = "consolidated";
constexpr const char* kParams = "params.json";

/// The number of a shard called `name`, a file that is alone being the first;
/// empty for files that are no shards.
std::optional<int> shard_number(std::string_view name) {
  if (!name.starts_with(kStem)) return {};
  name.remove_prefix(kStem.size());
  for (const std::string_view extension : {".pth", ".safetensors"}) {
    if (!name.ends_with(extension)) continue;
    name.remove_suffix(extension.size());
    if (name.empty()) return 0;
    if (!name.starts_with('.') && !name.starts_with('-')) return {};
    int number = 0;
    const auto* end = name.data() + name.size();
    const auto read = std::from_chars(name.data() + 1, end, number);
    const bool whole = read.ec == std::errc() && read.ptr == end && number >= 0;
    return whole ? std::optional(number) : std::nullopt;
  }
  return {};
}

/// The shards of `folder` by their numbers.
std::map<int, fs::path> find_shards(const fs::path& folder) {
  std::map<int, fs::path> shards;
  std::error_code error;
  auto entry = fs::directory_iterator(folder, error);
  while (!error && entry != fs::directory_iterator()) {
    const auto& path = entry->path();
    if (const auto number = shard_number(path.filename().string())) {
      const auto [other, is_new] = shards.emplace(*number, path);
      if (!is_new) {
        fail(ErrorCode::mismatch, path.string(),
             concat("has the number of ", other->second.filename().string()),
             "remove the file that does not belong");
      }
    }
    entry.increment(error);
  }
  if (error) fail_errno(error.value(), folder, "read the folder");
  return shards;
}

std::vector<std::unique_ptr<TensorFile>> open_shards(const fs::path& folder) {
  std::vector<std::unique_ptr<TensorFile>> opened;
  for (const auto& [number, path] : find_shards(folder)) {
    const auto expected = static_cast<int>(opened.size());
    if (number != expected) {
      fail(ErrorCode::not_found, folder.string(),
           concat("holds ", path.filename().string(), ", but no shard ",
                  expected),
           "download the missing files again");
    }
    if (path.extension() == ".pth") {
      opened.push_back(std::make_unique<TorchFile>(path));
    } else {
      opened.push_back(std::make_unique<SafetensorsFile>(path));
    }
  }
  return opened;
}

/// The width of the model, by which its embeddings are joined.
int read_dim(const fs::path& folder) {
  const auto file = folder / kParams;
  require_config(file);
  const auto dim = json_get<int>(read_json_file(file), "dim", file.string());
  if (dim) return *dim;
  fail(ErrorCode::corrupt_file, file.string(), "\"dim\" is missing",
       "download it from the model's source again");
}

class MetaCheckpoint final : public TensorSetCheckpoint {
 public:
  explicit MetaCheckpoint(const fs::path& folder)
      : TensorSetCheckpoint(folder),
        shards_(folder, open_shards(folder), read_dim(folder)) {
    TensorSet tensors;
    for (const auto& entry : shards_.tensors()) {
      tensors.emplace(entry.name, StoredTensor{&shards_, &entry});
    }
    notices_ = shards_.notices();
    const bool is_torch = shards_.files().front().extension() == ".pth";
    describe(kParams, std::move(tensors), is_torch ? "torch" : "safetensors");
  }

  std::vector<fs::path> weight_files() const override {
    return shards_.files();
  }

  std::vector<SideFile> side_files() const override {
    auto files = find_side_files(path());
    constexpr const char* kTokenizer = "tokenizer.model";
    const auto above =
        fs::absolute(path()).lexically_normal() / ".." / kTokenizer;
    std::error_code ignored;
    const bool has_tokenizer = std::ranges::any_of(files, is_tokenizer);
    if (!has_tokenizer && fs::is_regular_file(above, ignored)) {
      files.push_back({kTokenizer, above});
    }
    return files;
  }

 private:
  MetaShards shards_;
};

}  // namespace

bool holds_meta_shards(const fs::path& folder) {
  return !find_shards(folder).empty();
}

std::unique_ptr<Checkpoint> open_meta_checkpoint(const fs::path& folder) {
  return std::make_unique<MetaCheckpoint>(folder);
}

}  // namespace llamlx
