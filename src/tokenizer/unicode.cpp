#include "tokenizer/unicode.h"

#include <algorithm>
#include <vector>

#include <utf8proc.h>

#include "base/utf8.h"

namespace llamlx {
namespace {

utf8proc_category_t category(char32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

int combining_class(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x80;
  });
}

std::vector<utf8proc_int32_t> decompose(std::string_view text, bool compat) {
  const auto options = static_cast<utf8proc_option_t>(
      UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0));
  // The longest decomposition of one character has 18 code points (U+FDFA).
  constexpr int kLongest = 32;
  std::vector<utf8proc_int32_t> code_points;
  code_points.reserve(text.size());
  int boundary_state = 0;
  for (std::size_t i = 0; i < text.size();) {
    const auto code_point =
        static_cast<utf8proc_int32_t>(next_code_point(text, i));
    utf8proc_int32_t parts[kLongest];
    const auto count = utf8proc_decompose_char(code_point, parts, kLongest,
                                               options, &boundary_state);
    if (count > 0 && count <= kLongest) {
      code_points.insert(code_points.end(), parts, parts + count);
    } else {
      code_points.push_back(code_point);
    }
  }
  return code_points;
}

// utf8proc orders marks by swapping neighbours, which is quadratic in the
// length of a run of marks, and a text may be nothing else.
void order_marks(std::vector<utf8proc_int32_t>& code_points) {
  const auto is_starter = [](auto c) { return combining_class(c) == 0; };
  const auto before = [](auto a, auto b) {
    return combining_class(a) < combining_class(b);
  };
  auto begin = code_points.begin();
  while (begin != code_points.end()) {
    begin = std::find_if_not(begin, code_points.end(), is_starter);
    const auto end = std::find_if(begin, code_points.end(), is_starter);
    std::stable_sort(begin, end, before);
    begin = end;
  }
}

void compose(std::vector<utf8proc_int32_t>& code_points) {
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  const auto length = utf8proc_normalize_utf32(
      code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size()),
      options);
  code_points.resize(static_cast<std::size_t>(length));
}

}  // namespace

bool is_whitespace(char32_t code_point) {
  switch (code_point) {
    case 0x20:
    case 0x85:
    case 0xA0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202F:
    case 0x205F:
    case 0x3000:
      return true;
    default:
      return (code_point >= 0x09 && code_point <= 0x0D) ||
             (code_point >= 0x2000 && code_point <= 0x200A);
  }
}

bool is_numeric(char32_t code_point) {
  const auto kind = category(code_point);
  return kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(char32_t code_point) {
  if (code_point < 0x80) {
    return (code_point >= 0x21 && code_point <= 0x2F) ||
           (code_point >= 0x3A && code_point <= 0x40) ||
           (code_point >= 0x5B && code_point <= 0x60) ||
           (code_point >= 0x7B && code_point <= 0x7E);
  }
  const auto kind = category(code_point);
  return kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO;
}

bool is_combining_mark(char32_t code_point) {
  const auto kind = category(code_point);
  return kind >= UTF8PROC_CATEGORY_MN && kind <= UTF8PROC_CATEGORY_ME;
}

std::string normalize(std::string_view text, NormalizationForm form) {
  if (is_ascii(text)) return std::string(text);
  const bool compat =
      form == NormalizationForm::nfkc || form == NormalizationForm::nfkd;
  const bool composed =
      form == NormalizationForm::nfc || form == NormalizationForm::nfkc;
  auto code_points = decompose(text, compat);
  order_marks(code_points);
  if (composed) compose(code_points);
  std::string result;
  result.reserve(text.size());
  for (const auto code_point : code_points) {
    append_utf8(result, static_cast<char32_t>(code_point));
  }
  return result;
}

std::string to_lowercase(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const char32_t code_point = next_code_point(text, i);
    // The one character that becomes two (SpecialCasing.txt): i with dot above.
    if (code_point == 0x130) {
      result += "i\xCC\x87";
    } else {
      append_utf8(result, static_cast<char32_t>(utf8proc_tolower(
                              static_cast<utf8proc_int32_t>(code_point))));
    }
  }
  return result;
}

}  // namespace llamlx
