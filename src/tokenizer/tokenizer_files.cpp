#include "tokenizer/tokenizer_files.h"

#include <system_error>

#include "base/error.h"

namespace llamlx {

bool TokenizerFiles::contains(const std::string& name) const {
  if (contents_) return contents_->contains(name);
  std::error_code ignored;
  return std::filesystem::exists(origin_ / name, ignored);
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
