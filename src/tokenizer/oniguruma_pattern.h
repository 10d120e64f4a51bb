#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace llamlx {

/// A regular expression that cannot be understood. what() says why.
class PatternError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Rewrites a regular expression in Oniguruma's syntax, which tokenizer.json is
/// written in, for PCRE2 (options UTF, UCP, MULTILINE), so that both match the
/// same text: white space and word characters as Unicode defines them, nested
/// and intersected classes, "(?m" for dots that match newlines, "{n,m}+" as two
/// quantifiers, scripts rather than script extensions, and the escapes that
/// mean different things.
///
/// Errors: PatternError for what has no equal in PCRE2, and for broken syntax.
/// Source: Oniguruma's doc/RE and doc/SYNTAX.md; pcre2pattern(3).
std::string oniguruma_to_pcre2(std::string_view pattern);

}  // namespace llamlx
