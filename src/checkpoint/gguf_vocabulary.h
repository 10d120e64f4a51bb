#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf_reader.h"

namespace llamlx {

/// What a token is for; the numbers are SentencePiece's, and GGUF's.
enum class GgufTokenType {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6,
};

/// The tokens in the metadata of a GGUF file.
class GgufVocabulary {
 public:
  /// Errors: Error (corrupt_file) for lists of unequal length, repeated tokens,
  /// and types that do not exist.
  explicit GgufVocabulary(const GgufFile& file);

  /// The text of every id. Empty ones are called "[EMPTY_<id>]", as by
  /// llama.cpp: a tokenizer cannot hold one text twice.
  const std::vector<std::string>& tokens() const { return tokens_; }

  /// The type of every id; `normal` when the file gives none.
  const std::vector<GgufTokenType>& types() const { return types_; }

  std::optional<std::int32_t> find(std::string_view token) const;

  /// Whether `id` is cut out of a text before the rest is looked at.
  bool is_added(std::size_t id) const;

  /// Whether `id` is left out of decoded text.
  bool is_special(std::size_t id) const;

 private:
  std::vector<std::string> tokens_;
  std::vector<GgufTokenType> types_;
  std::vector<std::int32_t> by_text_;  // ids, sorted by their tokens
};

}  // namespace llamlx
