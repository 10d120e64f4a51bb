#pragma once

#include <string>
#include <string_view>

namespace llamlx {

/// What ends an answer: the file's next question would begin.
inline constexpr const char* kFewShotStop = "[Instruction]";

/// Examples with a place for the question, as in
///
///     [Instruction] What is the capital of France?
///     [Answer] Paris.
///     [Instruction] {}
///     [Answer]
class FewShotPrompt {
 public:
  /// Reads `file` as Python reads texts (UTF-8, line ends of any system) and
  /// strips white space at both ends, by Python's str.strip(). Errors: Error
  /// when it cannot be read, or is not UTF-8.
  static FewShotPrompt read(const std::string& file);

  explicit FewShotPrompt(std::string text) : text_(std::move(text)) {}

  /// Whether the question has a place.
  bool has_place() const;

  /// The text with every `{}` replaced by `question`, in which braces stay.
  std::string fill(std::string_view question) const;

  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace llamlx
