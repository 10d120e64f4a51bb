#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace llamlx {

/// A pattern being read from left to right.
struct PatternCursor {
  std::string_view text;
  std::size_t at = 0;

  bool at_end() const { return at >= text.size(); }
  /// The byte that comes `ahead` bytes later; 0 past the end.
  char peek(std::size_t ahead = 0) const {
    return at + ahead < text.size() ? text[at + ahead] : '\0';
  }
  /// Moves past `expected` if it comes next.
  bool accept(std::string_view expected);
  /// What stands before the next `end`; moves past that. Errors: PatternError.
  std::string_view until(char end);
};

/// One of the characters of a set, in Oniguruma's syntax and in PCRE2's.
struct CharacterSet {
  std::string members;  ///< what stands between brackets in PCRE2
  bool negated = false;

  std::string pattern() const;
};

/// The characters that \w and the like stand for; `letter` has just been read.
/// Empty for escapes that are no sets. Errors: PatternError.
std::optional<CharacterSet> read_set_escape(PatternCursor& cursor, char letter);

/// The one character that \n, \x{e9} and the like stand for; `letter` has just
/// been read. Errors: PatternError for escapes not known.
char32_t read_character_escape(PatternCursor& cursor, char letter);

/// PCRE2's way to write a character, in brackets and out.
std::string escaped(char32_t code_point);

/// Rewrites a class, "[" having just been read: classes within classes and
/// intersections become alternatives and assertions. Errors: PatternError.
std::string rewrite_class(PatternCursor& cursor);

}  // namespace llamlx
