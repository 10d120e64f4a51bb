#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "tokenizer/regex.h"
#include "tokenizer/unicode.h"

namespace llamlx {
namespace {

bool is_word_character(std::string_view character) {
  // What Rust's regex crate calls a word character.
  static const Regex word(R"([\w\x{200c}\x{200d}])");
  return !word.find_all(character).empty();
}

std::size_t begin_of_last_character(std::string_view text) {
  std::size_t begin = text.size() - 1;
  while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

bool ends_with_word(std::string_view text) {
  return !text.empty() &&
         is_word_character(text.substr(begin_of_last_character(text)));
}

bool starts_with_word(std::string_view text) {
  return !text.empty() &&
         is_word_character(text.substr(0, utf8_length(text[0])));
}

std::size_t before_trailing_space(std::string_view text) {
  while (!text.empty()) {
    std::size_t begin = begin_of_last_character(text);
    const std::size_t kept = begin;
    if (!is_whitespace(next_code_point(text, begin))) break;
    text = text.substr(0, kept);
  }
  return text.size();
}

std::size_t after_leading_space(std::string_view text) {
  std::size_t end = 0;
  for (std::size_t i = 0; i < text.size(); end = i) {
    if (!is_whitespace(next_code_point(text, i))) break;
  }
  return end;
}

std::uint64_t edge(std::uint32_t node, char byte) {
  return std::uint64_t{node} << 8 | static_cast<unsigned char>(byte);
}

}  // namespace

bool AddedTokenMatcher::add(const AddedToken& token, std::string_view written) {
  if (written.empty() || written.size() > kLongestToken) return false;
  std::uint32_t node = 0;
  for (const char byte : written) {
    const auto next = static_cast<std::uint32_t>(token_of_node_.size());
    const auto [found, created] = edges_.emplace(edge(node, byte), next);
    if (created) token_of_node_.push_back(-1);
    node = found->second;
  }
  if (token_of_node_[node] != -1) return false;
  token_of_node_[node] = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back(token);
  first_bytes_[static_cast<unsigned char>(written[0])] = true;
  return true;
}

AddedTokenMatcher::Match AddedTokenMatcher::longest_at(
    std::string_view text, std::size_t begin) const {
  Match longest;
  if (!first_bytes_[static_cast<unsigned char>(text[begin])]) return longest;
  std::uint32_t node = 0;
  for (std::size_t i = begin; i < text.size(); ++i) {
    const auto found = edges_.find(edge(node, text[i]));
    if (found == edges_.end()) break;
    node = found->second;
    const std::int32_t token = token_of_node_[node];
    if (token >= 0)
      longest = {&tokens_[static_cast<std::size_t>(token)], i + 1};
  }
  return longest;
}

std::vector<TextSegment> AddedTokenMatcher::split(std::string_view text) const {
  std::vector<TextSegment> segments;
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size() && !tokens_.empty();) {
    const Match match = longest_at(text, i);
    if (match.token == nullptr) {
      ++i;
      continue;
    }
    std::size_t begin = std::exchange(i, match.end);
    std::size_t end = match.end;
    if (match.token->single_word && (ends_with_word(text.substr(0, begin)) ||
                                     starts_with_word(text.substr(end)))) {
      continue;
    }
    if (match.token->lstrip) {
      begin = std::max(before_trailing_space(text.substr(0, begin)), done);
    }
    if (match.token->rstrip) end += after_leading_space(text.substr(end));
    if (done < begin) segments.push_back({TextSegment::kText, done, begin});
    segments.push_back({match.token->id, begin, end});
    done = end;
  }
  if (done < text.size()) {
    segments.push_back({TextSegment::kText, done, text.size()});
  }
  return segments;
}

}  // namespace llamlx
