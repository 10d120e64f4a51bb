#include "tokenizer/text_pattern.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/concat.h"
#include "base/utf8.h"
#include "tokenizer/oniguruma_pattern.h"

namespace llamlx {
namespace {

constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> kBehaviors{
    {{"Removed", SplitBehavior::removed},
     {"Isolated", SplitBehavior::isolated},
     {"MergedWithPrevious", SplitBehavior::merged_with_previous},
     {"MergedWithNext", SplitBehavior::merged_with_next},
     {"Contiguous", SplitBehavior::contiguous}}};

// Joins each part that `joins(previous is match, this is match)` to the piece
// before it. Goes backwards for the behaviour that merges forwards.
template <typename Iterator, typename Joins>
std::vector<TextRange> join(Iterator first, Iterator last, Joins joins) {
  std::vector<TextRange> pieces;
  bool previous = false;
  for (; first != last; ++first) {
    if (!pieces.empty() && joins(previous, first->is_match)) {
      pieces.back().begin = std::min(pieces.back().begin, first->begin);
      pieces.back().end = std::max(pieces.back().end, first->end);
    } else {
      pieces.push_back({first->begin, first->end});
    }
    previous = first->is_match;
  }
  return pieces;
}

}  // namespace

TextPattern TextPattern::read(const Component& component,
                              const std::string& key) {
  const Json& pattern = component.object(key);
  if (const auto literal = component.member<std::string>(pattern, "String")) {
    return TextPattern(*literal);
  }
  const auto regex = component.member<std::string>(pattern, "Regex");
  if (!regex) {
    component.corrupt(
        concat("\"", key, "\" should hold \"String\" or \"Regex\""));
  }
  try {
    return TextPattern(Regex(*regex));
  } catch (const PatternError& error) {
    component.unsupported(
        concat("the regular expression ", *regex, " ", error.what()));
  }
}

TextPattern::TextPattern(std::string literal) : literal_(std::move(literal)) {
  // An empty text matches between all characters, as it does in a regex.
  if (literal_.empty()) regex_.emplace("");
}

TextPattern::TextPattern(Regex regex) : regex_(std::move(regex)) {}

TextPattern::TextPattern(Predicate predicate) : predicate_(predicate) {}

std::vector<TextRange> TextPattern::matches(std::string_view text) const {
  if (regex_) return regex_->find_all(text);
  std::vector<TextRange> found;
  if (predicate_ != nullptr) {
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t begin = i;
      if (predicate_(next_code_point(text, i))) found.push_back({begin, i});
    }
    return found;
  }
  std::size_t at = text.find(literal_);
  while (at != std::string_view::npos) {
    found.push_back({at, at + literal_.size()});
    at = text.find(literal_, at + literal_.size());
  }
  return found;
}

std::vector<TextPart> TextPattern::find(std::string_view text) const {
  std::vector<TextPart> parts;
  std::size_t done = 0;
  if (!text.empty()) {
    for (const TextRange& match : matches(text)) {
      if (done != match.begin) parts.push_back({done, match.begin, false});
      parts.push_back({match.begin, match.end, true});
      done = match.end;
    }
  }
  if (done != text.size()) parts.push_back({done, text.size(), false});
  return parts;
}

std::string replace_all(std::string_view text,
                        const std::vector<TextPart>& parts,
                        std::string_view content) {
  std::string result;
  result.reserve(text.size());
  for (const TextPart& part : parts) {
    result += part.is_match ? content
                            : text.substr(part.begin, part.end - part.begin);
  }
  return result;
}

SplitBehavior read_split_behavior(const Component& component,
                                  const std::string& key) {
  const auto name = component.required<std::string>(key);
  for (const auto& [known, behavior] : kBehaviors) {
    if (known == name) return behavior;
  }
  component.unsupported(concat("the ", key, " \"", name, "\" is not known"));
}

std::vector<TextRange> split(const std::vector<TextPart>& parts,
                             SplitBehavior behavior) {
  std::vector<TextRange> pieces;
  switch (behavior) {
    case SplitBehavior::removed:
      for (const TextPart& part : parts) {
        if (!part.is_match) pieces.push_back({part.begin, part.end});
      }
      break;
    case SplitBehavior::isolated:
      pieces =
          join(parts.begin(), parts.end(), [](bool, bool) { return false; });
      break;
    case SplitBehavior::contiguous:
      pieces = join(parts.begin(), parts.end(), [](bool previous, bool match) {
        return previous == match;
      });
      break;
    case SplitBehavior::merged_with_previous:
      pieces = join(parts.begin(), parts.end(), [](bool previous, bool match) {
        return match && !previous;
      });
      break;
    case SplitBehavior::merged_with_next:
      pieces =
          join(parts.rbegin(), parts.rend(),
               [](bool previous, bool match) { return match && !previous; });
      std::reverse(pieces.begin(), pieces.end());
      break;
  }
  std::erase_if(pieces, [](const TextRange& p) { return p.begin == p.end; });
  return pieces;
}

}  // namespace llamlx
