#include "checkpoint/shard_set.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <set>
#include <system_error>

#include "base/concat.h"
#include "base/error.h"
#include "base/json.h"
#include "formats/npz_reader.h"
#include "formats/safetensors_reader.h"
#include "formats/torch_reader.h"

namespace llamlx {

namespace fs = std::filesystem;

/// A kind of weight files and what a folder calls them.
struct ShardKind {
  std::string_view format;
  std::string_view extension;
  std::string_view stem;    ///< what its files' names begin with
  std::string_view single;  ///< the name of a file that is alone
  std::string_view index;   ///< empty: there is none
  bool by_extension_alone;  ///< files of other stems may be weights, too
  std::unique_ptr<TensorFile> (*open)(const fs::path& path);
};

namespace {

template <typename File>
std::unique_ptr<TensorFile> open_as(const fs::path& path) {
  return std::make_unique<File>(path);
}

/// In the order of preference.
constexpr ShardKind kKinds[] = {
    {"safetensors", ".safetensors", "model", "model.safetensors",
     "model.safetensors.index.json", true, open_as<SafetensorsFile>},
    {"torch", ".bin", "pytorch_model", "pytorch_model.bin",
     "pytorch_model.bin.index.json", false, open_as<TorchFile>},
    {"npz", ".npz", "weights.", "weights.npz", "", false, open_as<NpzFile>},
};

constexpr const char* kRemedy = "download the missing files again";

std::vector<std::string> file_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  auto entry = fs::directory_iterator(folder, error);
  while (!error && entry != fs::directory_iterator()) {
    names.push_back(entry->path().filename().string());
    entry.increment(error);
  }
  if (error) fail_errno(error.value(), folder, "read the folder");
  std::ranges::sort(names);
  return names;
}

bool is_of(const ShardKind& kind, const std::string& name) {
  return name.ends_with(kind.extension) && !name.starts_with(".") &&
         (kind.by_extension_alone || name.starts_with(kind.stem));
}

/// The kind of weights among a folder's files, or nullptr.
const ShardKind* find_kind(const std::vector<std::string>& names) {
  const auto* found = std::ranges::find_if(kKinds, [&](const ShardKind& kind) {
    return std::ranges::any_of(names, [&](const std::string& name) {
      return name == kind.index || is_of(kind, name);
    });
  });
  return found != std::end(kKinds) ? found : nullptr;
}

/// Says what the folder holds instead of weights that can be read.
[[noreturn]] void fail_no_weights(const fs::path& folder,
                                  const std::vector<std::string>& names) {
  const auto first_ending_in = [&](std::vector<std::string_view> endings) {
    return std::ranges::find_if(names, [&](const std::string& name) {
      return std::ranges::any_of(
          endings, [&](auto ending) { return name.ends_with(ending); });
    });
  };
  if (const auto gguf = first_ending_in({".gguf"}); gguf != names.end()) {
    fail(ErrorCode::unsupported, folder.string(),
         concat("holds no *.safetensors, but ", *gguf),
         "give the path of that file itself");
  }
  const auto other = first_ending_in(
      {".bin", ".pth", ".pt", ".npz", ".ckpt", ".h5", ".msgpack", ".onnx"});
  if (other != names.end()) {
    fail(ErrorCode::unsupported, folder.string(),
         concat("holds its weights as ", *other,
                ", a name or kind of file that llamlx does not read"),
         "give the model's safetensors, pytorch_model.bin, consolidated.*.pth "
         "or a GGUF file");
  }
  fail(ErrorCode::not_found, folder.string(),
       "holds no weights (*.safetensors, pytorch_model.bin, "
       "consolidated.*.pth, weights.npz)",
       "check the path or download the weights");
}

void check_shard_name(const std::string& name, const fs::path& index,
                      std::string_view extension) {
  const bool inside = name.find_first_of("/\\") == std::string::npos &&
                      name.find("..") == std::string::npos;
  if (inside && name.ends_with(extension)) return;
  fail(ErrorCode::corrupt_file, index.string(),
       concat("names the shard \"", name, "\", which is not a *", extension,
              " file of this folder"),
       "take the index from the model's source again");
}

/// The index's "weight_map": tensor to shard.
std::map<std::string, std::string> read_weight_map(const fs::path& index,
                                                   std::string_view extension) {
  const auto json = read_json_file(index, RepeatedKeys::refused);
  const auto found = json.find("weight_map");
  const bool is_object = found != json.end() && found->is_object();
  std::map<std::string, std::string> weight_map;
  const auto entries = is_object ? *found : Json::object();
  for (const auto& [tensor, shard] : entries.items()) {
    if (!shard.is_string()) {
      fail(ErrorCode::corrupt_file, index.string(),
           concat("the shard of ", tensor, " is not a string"),
           "take the index from the model's source again");
    }
    check_shard_name(shard.get_ref<const std::string&>(), index, extension);
    weight_map.emplace(tensor, shard.get<std::string>());
  }
  if (weight_map.empty()) {
    fail(ErrorCode::corrupt_file, index.string(),
         "has no \"weight_map\" that names tensors",
         "take the index from the model's source again");
  }
  return weight_map;
}

/// The number N of shards a name such as "model-00001-of-0000N.safetensors"
/// speaks of, and what stands before "-00001-of-"; N is 0 for other names.
struct ShardName {
  std::string stem;
  int count = 0;
};

ShardName parse_shard_name(const std::string& name,
                           std::string_view extension) {
  constexpr std::string_view kOf = "-of-";
  constexpr std::size_t kDigits = 5;
  const auto of = name.rfind(kOf);
  if (of == std::string::npos || of < kDigits + 1) return {};
  const char* end = name.data() + name.size();
  int count = 0;
  const auto parsed =
      std::from_chars(name.data() + of + kOf.size(), end, count);
  if (std::string_view(parsed.ptr, end) != extension) return {};
  if (name[of - kDigits - 1] != '-') return {};
  return {name.substr(0, of - kDigits - 1), count};
}

/// Checks that of shards that count themselves none is missing.
void check_complete(const fs::path& folder,
                    const std::vector<std::string>& names,
                    std::string_view extension) {
  const std::set<std::string> present(names.begin(), names.end());
  for (const auto& name : names) {
    const auto [stem, count] = parse_shard_name(name, extension);
    for (int i = 1; i <= count && i <= static_cast<int>(names.size()) + 1;
         ++i) {
      char numbers[32];
      std::snprintf(numbers, sizeof numbers, "-%05d-of-%05d", i, count);
      const auto sibling = concat(stem, numbers, extension);
      if (present.contains(sibling)) continue;
      fail(ErrorCode::not_found, (folder / sibling).string(),
           concat("is missing beside ", name), kRemedy);
    }
  }
}

/// Whether `name` is "weights.<number>.npz".
bool is_numbered(std::string_view name) {
  constexpr std::string_view kBefore = "weights.", kAfter = ".npz";
  if (name.size() <= kBefore.size() + kAfter.size()) return false;
  name.remove_prefix(kBefore.size());
  name.remove_suffix(kAfter.size());
  return std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
}

/// Checks that of shards that are numbered from 0 on, "weights.00.npz", none is
/// missing before the last.
void check_numbers(const fs::path& folder,
                   const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto expected = concat("weights.", i < 10 ? "0" : "", i, ".npz");
    if (std::ranges::count(names, expected) > 0) continue;
    fail(ErrorCode::not_found, (folder / expected).string(),
         concat("is missing beside ", names.back()), kRemedy);
  }
}

}  // namespace

bool holds_shards(const fs::path& folder) {
  auto names = file_names(folder);
  // A safetensors file of any name is taken for a shard; Meta's is not one.
  std::erase_if(names, [](const std::string& name) {
    return name.starts_with("consolidated");
  });
  return find_kind(names) != nullptr;
}

ShardSet::ShardSet(const fs::path& folder) : folder_(folder) {
  const auto names = file_names(folder);
  kind_ = find_kind(names);
  if (kind_ == nullptr) fail_no_weights(folder, names);
  std::ranges::copy_if(names, std::back_inserter(present_),
                       [&](const auto& name) { return is_of(*kind_, name); });
  if (std::ranges::binary_search(names, kind_->index)) {
    open_indexed(folder / kind_->index);
  } else {
    open_unindexed();
  }
  for (const auto& name : names) {
    const bool is_other = std::ranges::any_of(kKinds, [&](const auto& kind) {
      return &kind != kind_ && is_of(kind, name) && !is_of(*kind_, name);
    });
    if (!is_other) continue;
    notices_.push_back(concat(name, ": the model is read from its ",
                              kind_->format, " files; ignored"));
  }
}

std::string_view ShardSet::format() const { return kind_->format; }

void ShardSet::open_indexed(const fs::path& index) {
  const auto weight_map = read_weight_map(index, kind_->extension);
  for (const auto& [name, shard] : weight_map) {
    const auto& file = open_shard(shard);
    const auto* tensor = file.find(name);
    if (tensor == nullptr) {
      fail(
          ErrorCode::mismatch, file.path().string(),
          concat("does not hold ", name, ", though ", kind_->index, " says so"),
          "download both files again from one source");
    }
    tensors_.emplace(name, StoredTensor{&file, tensor});
  }
  for (const auto& [shard, file] : shards_) {
    std::vector<std::string> left_aside;
    for (const auto& tensor : file->tensors()) {
      const auto* chosen = find(tensors_, tensor.name);
      const bool here = chosen != nullptr && chosen->file == file.get();
      if (!here) left_aside.push_back(tensor.name);
    }
    if (left_aside.empty()) continue;
    notices_.push_back(concat(shard, ": tensors that the index does not place ",
                              "there are ignored: ", left_aside.size(),
                              ", the first is ", left_aside.front()));
  }
  note_strays(kind_->index);
}

void ShardSet::open_unindexed() {
  std::vector<std::string> chosen;
  if (std::ranges::binary_search(present_, kind_->single)) {
    chosen.emplace_back(kind_->single);
  } else {
    std::ranges::copy_if(
        present_, std::back_inserter(chosen),
        [&](const std::string& name) { return name.starts_with(kind_->stem); });
    if (chosen.empty()) chosen = present_;
    if (kind_->index.empty()) {
      std::erase_if(chosen,
                    [](const auto& name) { return !is_numbered(name); });
      check_numbers(folder_, chosen);
    } else {
      check_complete(folder_, chosen, kind_->extension);
    }
  }
  for (const auto& name : chosen) {
    const auto& file = open_shard(name);
    for (const auto& tensor : file.tensors()) {
      const auto [other, is_new] =
          tensors_.emplace(tensor.name, StoredTensor{&file, &tensor});
      if (is_new) continue;
      const auto first = other->second.file->path().filename().string();
      fail(ErrorCode::mismatch, file.path().string(),
           concat("holds ", tensor.name, ", which is in ", first, " too"),
           "remove the file that does not belong");
    }
  }
  note_strays("the model");
}

const TensorFile& ShardSet::open_shard(const std::string& name) {
  auto& shard = shards_[name];
  if (shard) return *shard;
  if (!std::ranges::binary_search(present_, name)) {
    fail(ErrorCode::not_found, folder_.string(),
         concat("the shard ", name, " that the index names is missing"),
         kRemedy);
  }
  shard = kind_->open(folder_ / name);
  for (const auto& notice : shard->notices()) {
    notices_.push_back(concat(name, ": ", notice));
  }
  return *shard;
}

void ShardSet::note_strays(std::string_view chosen_by) {
  for (const auto& name : present_) {
    if (shards_.contains(name)) continue;
    notices_.push_back(
        concat(name, ": does not belong to ", chosen_by, "; ignored"));
  }
}

std::vector<fs::path> ShardSet::files() const {
  std::vector<fs::path> files;
  for (const auto& [name, file] : shards_) files.push_back(file->path());
  return files;
}

}  // namespace llamlx
