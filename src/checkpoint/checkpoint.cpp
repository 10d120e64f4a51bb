#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/mapped_file.h"
#include "checkpoint/folder_checkpoint.h"
#include "checkpoint/gguf_checkpoint.h"
#include "checkpoint/meta_checkpoint.h"
#include "checkpoint/shard_set.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWhatToGive =
    "give a folder of config.json and *.safetensors, of params.json and "
    "consolidated.*.pth, or a GGUF file";

/// The folder's GGUF file, if that is what there is to open: the only one, and
/// no config.json beside it.
fs::path lone_gguf(const fs::path& folder) {
  std::vector<fs::path> found;
  bool has_safetensors = false;
  std::error_code error;
  auto entry = fs::directory_iterator(folder, error);
  while (!error && entry != fs::directory_iterator()) {
    const auto& path = entry->path();
    if (path.filename() == "config.json") return {};
    has_safetensors |= path.extension() == ".safetensors";
    if (path.extension() == ".gguf") found.push_back(path);
    entry.increment(error);
  }
  if (error) fail_errno(error.value(), folder, "read the folder");
  if (has_safetensors || found.empty()) return {};
  if (found.size() == 1) return found.front();
  fail(ErrorCode::unsupported, folder.string(), "holds several GGUF files",
       "give the path of one of them");
}

std::unique_ptr<Checkpoint> open_file(const fs::path& path) {
  const MappedFile file(path);
  // By name, too: a damaged GGUF file should be told as one.
  if (file.text().starts_with("GGUF") || path.extension() == ".gguf") {
    return open_gguf_checkpoint(path);
  }
  if (path.extension() == ".safetensors") {
    fail(ErrorCode::unsupported, path.string(),
         "is weights alone, without the config.json that says what model it is",
         "give the folder that holds both");
  }
  fail(ErrorCode::unsupported, path.string(), "is not a GGUF file",
       kWhatToGive);
}

std::unique_ptr<Checkpoint> open_folder(const fs::path& folder) {
  std::error_code ignored;
  const bool has_config = fs::exists(folder / "config.json", ignored);
  // Mistral's folders hold both layouts.
  const bool is_hugging_face = has_config && holds_shards(folder);
  if (!is_hugging_face && holds_meta_shards(folder)) {
    return open_meta_checkpoint(folder);
  }
  const auto gguf = lone_gguf(folder);
  return gguf.empty() ? open_folder_checkpoint(folder) : open_file(gguf);
}

std::unique_ptr<Checkpoint> open_in_layout(const fs::path& path, bool is_folder,
                                           FolderLayout layout) {
  std::error_code ignored;
  const bool is_there =
      is_folder && (layout == FolderLayout::meta
                        ? holds_meta_shards(path)
                        : fs::exists(path / "config.json", ignored));
  if (!is_there) {
    const bool meta = layout == FolderLayout::meta;
    fail(ErrorCode::not_found, path.string(),
         meta ? "is not in Meta's layout: it holds no consolidated.*.pth"
              : "is not in Hugging Face's layout: it holds no config.json",
         "leave the layout open, and it is found by what is there");
  }
  return layout == FolderLayout::meta ? open_meta_checkpoint(path)
                                      : open_folder_checkpoint(path);
}

}  // namespace

std::unique_ptr<Checkpoint> Checkpoint::open(const fs::path& path,
                                             FolderLayout layout) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    fail(ErrorCode::not_found, path.string(), "does not exist", kWhatToGive);
  }
  if (!fs::status_known(status)) fail_errno(error.value(), path, "open");
  const bool is_folder = fs::is_directory(status);
  if (layout != FolderLayout::any) {
    return open_in_layout(path, is_folder, layout);
  }
  return is_folder ? open_folder(path) : open_file(path);
}

bool is_tokenizer(const SideFile& file) {
  return file.name == "tokenizer.json" || file.name == "tekken.json" ||
         file.name == "tokenizer.model" ||
         file.name.starts_with("tokenizer.model.v");
}

const std::optional<OrderedJson>& Checkpoint::params() const {
  static const std::optional<OrderedJson> kNone;
  return kNone;
}

const WeightInfo* Checkpoint::find(std::string_view name) const {
  const auto& all = weights();
  const auto found = std::ranges::lower_bound(all, name, {}, &WeightInfo::name);
  return found != all.end() && found->name == name ? &*found : nullptr;
}

}  // namespace llamlx
