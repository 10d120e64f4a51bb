#include "seed_screens.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/concat.h"
#include "few_shot.h"

namespace llamlx::seed {
namespace {

namespace fs = std::filesystem;

/// A path as Python's pathlib writes it: without "." and doubled slashes.
std::string python_path(const fs::path& path) {
  fs::path result;
  for (const auto& part : path) {
    if (!part.empty() && part != ".") result /= part;
  }
  return result.empty() ? "." : result.string();
}

bool is_shard(const fs::path& file) {
  const auto name = file.filename().string();
  return name != "weights.npz" && name.starts_with("weights.") &&
         name.ends_with(".npz");
}

/// True when `text` ends with a proper beginning of `word`.
bool ends_with_beginning(std::string_view text, std::string_view word) {
  for (std::size_t size = word.size() - 1; size > 0; --size) {
    if (text.ends_with(word.substr(0, size))) return true;
  }
  return false;
}

}  // namespace

std::string loading_model(const std::vector<fs::path>& files) {
  std::string list;
  if (!files.empty() && std::ranges::all_of(files, is_shard)) {
    list = python_path(files.front().parent_path() / "weights.*.npz");
  } else {
    for (const auto& file : files) {
      list += concat(list.empty() ? "" : ", ", python_path(file));
    }
  }
  return concat("[INFO] Loading model from ", list, ".\n");
}

std::string loading_examples(std::string_view file) {
  return concat("[INFO] Loading few-shot examples from: ", file, '\n');
}

std::string timings(const Result& result) {
  char text[128];
  std::snprintf(text, sizeof(text),
                "[INFO] Prompt processing: %.3f s\n"
                "[INFO] Full generation: %.3f s\n",
                result.time_to_first_token_s, result.total_s);
  return text;
}

std::string FewShotAnswer::add(const Delta& delta) {
  held_ += delta.text;
  if (ended_ || !delta.token) return {};
  if (++tokens_ >= max_tokens_) {
    ended_ = true;
    return {};
  }
  if (ends_with_beginning(held_, kFewShotStop)) return {};
  if (held_.ends_with(kFewShotStop)) {
    ended_ = ended_by_word_ = true;
    return {};
  }
  ended_ = std::ranges::count(eos_ids_, *delta.token) > 0;
  return std::exchange(held_, {});
}

std::string FewShotAnswer::finish() {
  return ended_by_word_ ? std::string() : std::exchange(held_, {});
}

}  // namespace llamlx::seed
