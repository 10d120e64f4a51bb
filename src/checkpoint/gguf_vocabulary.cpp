#include "checkpoint/gguf_vocabulary.h"

#include <algorithm>
#include <numeric>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

[[noreturn]] void fail_corrupt(const GgufFile& file, std::string_view cause) {
  fail(ErrorCode::corrupt_file, file.path().string(), cause,
       "convert the model again with a current llama.cpp");
}

std::vector<GgufTokenType> read_types(const GgufFile& file, std::size_t count) {
  constexpr const char* kKey = "tokenizer.ggml.token_type";
  const auto numbers = file.get<std::vector<std::int64_t>>(kKey);
  if (!numbers) return std::vector(count, GgufTokenType::normal);
  if (numbers->size() != count) {
    fail_corrupt(file, concat(kKey, " has ", numbers->size(), " entries for ",
                              count, " tokens"));
  }
  std::vector<GgufTokenType> types;
  types.reserve(count);
  for (const auto number : *numbers) {
    if (number < 1 || number > 6) {
      fail_corrupt(file, concat(kKey, " names the unknown type ", number));
    }
    types.push_back(static_cast<GgufTokenType>(number));
  }
  return types;
}

}  // namespace

GgufVocabulary::GgufVocabulary(const GgufFile& file) {
  const auto tokens =
      file.require<std::vector<std::string_view>>("tokenizer.ggml.tokens");
  tokens_.reserve(tokens.size());
  for (const auto token : tokens) {
    tokens_.push_back(token.empty() ? concat("[EMPTY_", tokens_.size(), "]")
                                    : std::string(token));
  }
  types_ = read_types(file, tokens_.size());
  by_text_.resize(tokens_.size());
  std::iota(by_text_.begin(), by_text_.end(), 0);
  const auto text = [&](std::int32_t id) -> const std::string& {
    return tokens_[static_cast<std::size_t>(id)];
  };
  std::ranges::sort(by_text_, {}, text);
  const auto twin = std::ranges::adjacent_find(by_text_, {}, text);
  if (twin != by_text_.end()) {
    fail_corrupt(file, concat("tokens ", *twin, " and ", *(twin + 1),
                              " are both \"", text(*twin), '"'));
  }
}

std::optional<std::int32_t> GgufVocabulary::find(std::string_view token) const {
  const auto text = [&](std::int32_t id) -> std::string_view {
    return tokens_[static_cast<std::size_t>(id)];
  };
  const auto found = std::ranges::lower_bound(by_text_, token, {}, text);
  if (found == by_text_.end() || text(*found) != token) return {};
  return *found;
}

bool GgufVocabulary::is_added(std::size_t id) const {
  return is_special(id) || types_[id] == GgufTokenType::user_defined;
}

bool GgufVocabulary::is_special(std::size_t id) const {
  return types_[id] == GgufTokenType::control ||
         types_[id] == GgufTokenType::unknown;
}

}  // namespace llamlx
