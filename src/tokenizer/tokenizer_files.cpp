#include "tokenizer/tokenizer_files.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace llamlx {

bool TokenizerFiles::contains(const std::string& name) const {
  if (contents_) return contents_->contains(name);
  std::error_code ignored;
  return std::filesystem::exists(origin_ / name, ignored);
}

std::vector<std::string> TokenizerFiles::names_with(
    std::string_view prefix) const {
  std::vector<std::string> names;
  const auto take = [&](std::string name) {
    if (name.starts_with(prefix)) names.push_back(std::move(name));
  };
  if (contents_) {
    for (const auto& entry : *contents_) take(entry.first);
    return names;
  }
  std::error_code error;
  auto entry = std::filesystem::directory_iterator(origin_, error);
  for (; !error && entry != std::filesystem::directory_iterator();
       entry.increment(error)) {
    take(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TokenizerFiles::Contents TokenizerFiles::read(const std::string& name) const {
  if (!contents_) return Contents(MappedFile(origin_ / name));
  const auto found = contents_->find(name);
  if (found == contents_->end()) {
    fail(ErrorCode::not_found, subject(name), "does not exist",
         "give the model's tokenizer");
  }
  return Contents(found->second);
}

std::string TokenizerFiles::subject(const std::string& name) const {
  return (origin_ / name).string();
}

}  // namespace llamlx
