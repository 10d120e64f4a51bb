#include "few_shot.h"

#include "base/error.h"
#include "base/utf8.h"
#include "model_options.h"
#include "tokenizer/unicode.h"

namespace llamlx {
namespace {

constexpr std::string_view kPlace = "{}";

/// CRLF and CR as LF.
std::string with_unix_lines(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool ends = text[i] == '\r';
    if (ends && i + 1 < text.size() && text[i + 1] == '\n') continue;
    result += ends ? '\n' : text[i];
  }
  return result;
}

/// Python's str.isspace, which also counts four controls.
bool is_python_space(char32_t c) {
  return is_whitespace(c) || (c >= 0x1c && c <= 0x1f);
}

std::string_view strip(std::string_view text) {
  std::size_t first = text.size(), last = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto begin = at;
    if (is_python_space(next_code_point(text, at))) continue;
    if (first == text.size()) first = begin;
    last = at;
  }
  return first < last ? text.substr(first, last - first) : std::string_view();
}

}  // namespace

FewShotPrompt FewShotPrompt::read(const std::string& file) {
  const auto text = read_text(file);
  if (!is_valid_utf8(text)) {
    fail(ErrorCode::corrupt_file, file, "is not UTF-8 text",
         "save the examples as UTF-8");
  }
  return FewShotPrompt(std::string(strip(with_unix_lines(text))));
}

bool FewShotPrompt::has_place() const {
  return text_.find(kPlace) != std::string::npos;
}

std::string FewShotPrompt::fill(std::string_view question) const {
  std::string result;
  std::size_t from = 0;
  for (auto at = text_.find(kPlace); at != std::string::npos;
       at = text_.find(kPlace, from)) {
    result.append(text_, from, at - from).append(question);
    from = at + kPlace.size();
  }
  return result.append(text_, from);
}

}  // namespace llamlx
