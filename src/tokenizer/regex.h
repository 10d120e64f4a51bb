#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace llamlx {

/// A part of a text, in bytes.
struct TextRange {
  std::size_t begin;
  std::size_t end;
};

/// A regular expression in Oniguruma's syntax (see oniguruma_pattern.h),
/// compiled by PCRE2, to machine code where the system allows it.
///
/// Errors: the constructor throws PatternError. find_all() throws PatternError
/// when the work exceeds a bound (steps for each place, seconds for the whole)
/// that no honest pattern comes near.
/// Threads: const members may be called from several threads.
class Regex {
 public:
  explicit Regex(std::string_view pattern);

  /// Every match in well-formed UTF-8, leftmost first and not overlapping; none
  /// that is empty where the one before it ends.
  std::vector<TextRange> find_all(std::string_view text) const;

 private:
  std::shared_ptr<void> code_;
};

}  // namespace llamlx
