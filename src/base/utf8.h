#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace llamlx {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

/// What a string of bytes begins with.
struct Utf8Sequence {
  std::size_t length;  ///< of the character, or of the maximal ill-formed part
  bool valid;          ///< it is a character
  bool incomplete;     ///< it is not yet one, but more bytes could make it one
};

/// Looks at the first UTF-8 sequence of `bytes`, which must not be empty.
/// Ill-formed parts are cut as the Unicode Standard recommends (section 3.9,
/// "U+FFFD Substitution of Maximal Subparts").
Utf8Sequence scan_utf8(std::string_view bytes);

/// Reads the character of well-formed `text` at `position` and moves past it.
char32_t next_code_point(std::string_view text, std::size_t& position);

/// Number of bytes of the character that begins with `lead`, in valid UTF-8.
std::size_t utf8_length(char lead);

void append_utf8(std::string& text, char32_t code_point);

bool is_valid_utf8(std::string_view bytes);

/// `bytes` with U+FFFD for each maximal ill-formed part.
std::string replace_ill_formed(std::string_view bytes);

/// `text` as it may be shown on a terminal: what a file says must not steer it.
/// Control characters become '?', ill-formed parts U+FFFD.
std::string printable(std::string_view text);

/// replace_ill_formed() for bytes that come in parts: holds back what may still
/// become a character, three bytes at most.
class LossyUtf8Stream {
 public:
  void add(std::string_view bytes, std::string& text);
  void finish(std::string& text);

 private:
  std::string pending_;
};

}  // namespace llamlx
