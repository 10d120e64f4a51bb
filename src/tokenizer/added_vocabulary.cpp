#include "tokenizer/added_vocabulary.h"

#include <utility>

namespace llamlx {

const char* AddedVocabulary::add(const AddedToken& token, std::string written) {
  if (texts_.contains(token.id)) return "has the id of another added token";
  if (ids_.contains(token.content)) return "is added twice";
  AddedTokenMatcher& matcher = token.normalized ? normalized_ : raw_;
  if (!matcher.add(token, written)) {
    return "is empty, too long, or reads like another added token";
  }
  ids_.emplace(token.content, token.id);
  if (token.special) special_.insert(token.content);
  texts_.emplace(token.id, std::move(written));
  return nullptr;
}

std::optional<std::int32_t> AddedVocabulary::find(
    std::string_view content) const {
  const auto found = ids_.find(content);
  if (found == ids_.end()) return {};
  return found->second;
}

const std::string* AddedVocabulary::text(std::int32_t id) const {
  const auto found = texts_.find(id);
  return found == texts_.end() ? nullptr : &found->second;
}

bool AddedVocabulary::is_special(std::int32_t id) const {
  const std::string* text = this->text(id);
  return text != nullptr && special_.contains(*text);
}

}  // namespace llamlx
