#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/component.h"
#include "tokenizer/regex.h"

namespace llamlx {

/// A part of a text, and whether it is a match of a pattern or lies between
/// two. Parts follow one another and cover the text.
struct TextPart {
  std::size_t begin;
  std::size_t end;
  bool is_match;
};

/// What a tokenizer.json calls a pattern: {"String": s} or {"Regex": r}; or any
/// one character that satisfies a predicate.
class TextPattern {
 public:
  using Predicate = bool (*)(char32_t);

  /// Reads `component[key]`. Errors: Error naming the component.
  static TextPattern read(const Component& component, const std::string& key);

  explicit TextPattern(std::string literal);
  explicit TextPattern(Regex regex);
  explicit TextPattern(Predicate predicate);

  /// Errors: PatternError, as Regex::find_all.
  std::vector<TextPart> find(std::string_view text) const;

 private:
  std::vector<TextRange> matches(std::string_view text) const;

  std::string literal_;
  std::optional<Regex> regex_;
  Predicate predicate_ = nullptr;
};

/// `text`, found to have `parts`, with `content` in place of every match.
std::string replace_all(std::string_view text,
                        const std::vector<TextPart>& parts,
                        std::string_view content);

/// What becomes of the matches when a text is split by a pattern.
enum class SplitBehavior {
  removed,               ///< "the-final--countdown": the final countdown
  isolated,              ///< the - final - - countdown
  merged_with_previous,  ///< the- final- - countdown
  merged_with_next,      ///< the -final - -countdown
  contiguous,            ///< the - final -- countdown
};

/// Reads `component[key]`: "Removed", "Isolated", "MergedWithPrevious",
/// "MergedWithNext" or "Contiguous".
SplitBehavior read_split_behavior(const Component& component,
                                  const std::string& key);

/// The pieces that a text found to have `parts` is split into, in order; those
/// that would be empty are left out.
std::vector<TextRange> split(const std::vector<TextPart>& parts,
                             SplitBehavior behavior);

}  // namespace llamlx
