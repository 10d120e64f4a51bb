#include "tokenizer/vocabulary.h"

#include <functional>

namespace llamlx {
namespace {

constexpr std::int32_t kFree = -1;

}  // namespace

std::size_t Vocabulary::slot_of(std::string_view token) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = std::hash<std::string_view>()(token) & mask;
  while (slots_[slot] != kFree && this->token(slots_[slot]) != token) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void Vocabulary::grow() {
  std::vector<std::int32_t> old(slots_.empty() ? 64 : 2 * slots_.size(), kFree);
  old.swap(slots_);
  for (const std::int32_t id : old) {
    if (id != kFree) slots_[slot_of(token(id))] = id;
  }
}

Vocabulary::Added Vocabulary::add(std::string_view token, std::int32_t id) {
  if (contains(id)) return Added::id_taken;
  if (2 * (size_ + 1) > slots_.size()) grow();
  const std::size_t slot = slot_of(token);
  if (slots_[slot] != kFree) return Added::token_known;
  const auto index = static_cast<std::size_t>(id);
  if (index >= spans_.size()) spans_.resize(index + 1);
  spans_[index] = {static_cast<std::uint32_t>(text_.size()),
                   static_cast<std::uint32_t>(token.size()), true};
  text_ += token;
  slots_[slot] = id;
  ++size_;
  return Added::yes;
}

std::optional<std::int32_t> Vocabulary::find(std::string_view token) const {
  if (slots_.empty()) return {};
  const std::int32_t id = slots_[slot_of(token)];
  if (id == kFree) return {};
  return id;
}

std::string_view Vocabulary::token(std::int32_t id) const {
  if (!contains(id)) return {};
  const Span& span = spans_[static_cast<std::size_t>(id)];
  return std::string_view(text_).substr(span.begin, span.length);
}

}  // namespace llamlx
