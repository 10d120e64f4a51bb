#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "tokenizer/added_tokens.h"

namespace llamlx {

/// The tokens that were added to a model's own, by id and by name.
///
/// Threads: const members may be called from several threads.
/// Source: the behaviour of Hugging Face's tokenizers 0.23.
class AddedVocabulary {
 public:
  /// Adds `token`; `written` is its content as texts show it where it is sought
  /// (normalized when token.normalized). Null, or why it cannot be.
  const char* add(const AddedToken& token, std::string written);

  /// Cuts the tokens that are not sought in normalized text out of a raw one.
  std::vector<TextSegment> split_raw(std::string_view text) const {
    return raw_.split(text);
  }
  std::vector<TextSegment> split_normalized(std::string_view text) const {
    return normalized_.split(text);
  }

  std::optional<std::int32_t> find(std::string_view content) const;

  /// What a decoder is given for `id`; nullptr for ids that were not added.
  const std::string* text(std::int32_t id) const;

  /// Whether decoding leaves out the added token `id`.
  bool is_special(std::int32_t id) const;

  /// One more than the highest id, 0 when there are none.
  std::int32_t id_end() const {
    return texts_.empty() ? 0 : texts_.rbegin()->first + 1;
  }

 private:
  AddedTokenMatcher raw_;
  AddedTokenMatcher normalized_;
  std::map<std::int32_t, std::string> texts_;
  std::map<std::string, std::int32_t, std::less<>> ids_;
  std::set<std::string, std::less<>> special_;
};

}  // namespace llamlx
