#include "generate/stop_matcher.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "base/utf8.h"

namespace llamlx {

StopMatcher::Word::Word(const std::string& word)
    : text(word), borders(word.size() + 1) {
  // The prefix function of Knuth, Morris and Pratt.
  for (std::size_t n = 1; n < text.size(); ++n) {
    std::size_t border = borders[n];
    while (border > 0 && text[border] != text[n]) border = borders[border];
    borders[n + 1] = text[border] == text[n] ? border + 1 : 0;
  }
}

bool StopMatcher::Word::add(char byte) {
  if (matched == text.size()) matched = borders[matched];
  while (matched > 0 && text[matched] != byte) matched = borders[matched];
  if (text[matched] == byte) ++matched;
  return matched == text.size();
}

StopMatcher::StopMatcher(const std::vector<std::string>& stop) {
  for (const auto& text : stop) {
    if (text.empty()) {
      throw std::invalid_argument("a stop string must not be empty");
    }
    if (!is_valid_utf8(text)) {
      throw std::invalid_argument("a stop string must be UTF-8");
    }
    words_.emplace_back(text);
  }
}

std::string_view StopMatcher::complete_with(char byte) {
  std::string_view longest;
  for (auto& word : words_) {
    if (word.add(byte) && word.text.size() > longest.size()) {
      longest = word.text;
    }
  }
  return longest;
}

std::string StopMatcher::add(std::string_view piece) {
  if (stopped()) return {};
  for (const char byte : piece) {
    held_ += byte;
    found_ = complete_with(byte);
    if (!stopped()) continue;
    held_.resize(held_.size() - found_.size());
    return std::exchange(held_, {});
  }
  std::size_t kept = 0;
  for (const auto& word : words_) kept = std::max(kept, word.matched);
  const auto certain = held_.substr(0, held_.size() - kept);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopMatcher::finish() { return std::exchange(held_, {}); }

}  // namespace llamlx
