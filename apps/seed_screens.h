#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "llamlx/llamlx.h"

// What the first scripts of this kind for MLX, llama.py and convert.py, write
// on the screen: `--compat seed` repeats it byte for byte. Every line carries
// its line break; questions have none.
namespace llamlx::seed {

inline constexpr std::string_view kPause = "Press enter to start generation";
inline constexpr std::string_view kQuestion = "Ask a question: ";
inline constexpr std::string_view kRule = "------\n";

inline constexpr std::string_view kLoading = "[INFO] Loading\n";
inline constexpr std::string_view kQuantizing = "[INFO] Quantizing\n";
inline constexpr std::string_view kSaving = "[INFO] Saving\n";

/// "[INFO] Loading model from mlx_model/weights.npz.": the file; for shards of
/// the script's own kind their pattern, "weights.*.npz"; else all files.
std::string loading_model(const std::vector<std::filesystem::path>& files);

std::string loading_examples(std::string_view file);

/// The times, two lines.
std::string timings(const Result& result);

/// The text of a few-shot answer as llama.py writes it, which looks at the
/// whole text after every token: it is held back while it ends with a beginning
/// of "[Instruction]", and the answer ends where it ends with the word. A word
/// that ends inside a token, or in the last token allowed, is written.
class FewShotAnswer {
 public:
  FewShotAnswer(int max_tokens, std::vector<std::int32_t> eos_ids)
      : max_tokens_(max_tokens), eos_ids_(std::move(eos_ids)) {}

  /// The text to write now.
  std::string add(const Delta& delta);

  /// No more tokens are wanted.
  bool ended() const { return ended_; }

  /// What is left to write in the end.
  std::string finish();

 private:
  int max_tokens_;
  std::vector<std::int32_t> eos_ids_;
  int tokens_ = 0;
  bool ended_ = false;
  bool ended_by_word_ = false;
  std::string held_;
};

}  // namespace llamlx::seed
