#pragma once

#include <string>
#include <string_view>

namespace llamlx {

/// White_Space of the Unicode Character Database: what Rust, Oniguruma and
/// Python's str.isspace mean by white space, bar a few controls.
bool is_whitespace(char32_t code_point);

/// General category N: decimal digits, letter-like and other numbers.
bool is_numeric(char32_t code_point);

/// General category P, and the ASCII symbols that ispunct() also counts.
bool is_punctuation(char32_t code_point);

/// General category M.
bool is_combining_mark(char32_t code_point);

enum class NormalizationForm { nfc, nfd, nfkc, nfkd };

/// Brings well-formed UTF-8 to a normalization form (Unicode Standard Annex
/// 15). Costs O(n log n) for any text.
std::string normalize(std::string_view text, NormalizationForm form);

/// Lower-cases each character by itself, as Unicode's full mapping says.
std::string to_lowercase(std::string_view text);

}  // namespace llamlx
