#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/mapped_file.h"
#include "checkpoint/folder_checkpoint.h"
#include "checkpoint/gguf_checkpoint.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWhatToGive =
    "give a folder of config.json and *.safetensors, or a GGUF file";

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

}  // namespace

std::unique_ptr<Checkpoint> Checkpoint::open(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    fail(ErrorCode::not_found, path.string(), "does not exist", kWhatToGive);
  }
  if (!fs::status_known(status)) fail_errno(error.value(), path, "open");
  if (!fs::is_directory(status)) return open_file(path);
  const auto gguf = lone_gguf(path);
  return gguf.empty() ? open_folder_checkpoint(path) : open_file(gguf);
}

const WeightInfo* Checkpoint::find(std::string_view name) const {
  const auto& all = weights();
  const auto found = std::ranges::lower_bound(all, name, {}, &WeightInfo::name);
  return found != all.end() && found->name == name ? &*found : nullptr;
}

}  // namespace llamlx
