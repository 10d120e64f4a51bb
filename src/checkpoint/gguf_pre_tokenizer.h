#pragma once

#include <span>
#include <string_view>

namespace llamlx {

/// How a byte-level BPE cuts text into words, as "tokenizer.ggml.pre" names it.
/// The steps follow each other as in the tokenizer.json of the models that the
/// name comes from.
struct GgufPreTokenizer {
  std::string_view name;
  bool nfc;     ///< text is brought into Unicode's form NFC first
  bool digits;  ///< then every digit is cut off by itself
  std::span<const char* const> splits;  ///< then by these regular expressions
  bool words;                           ///< then into words as GPT-2 does
  bool ignore_merges;  ///< a word that is a token is not merged from its parts
  bool add_bos;        ///< when the file does not say
};

/// The row called `name`, or nullptr.
const GgufPreTokenizer* find_gguf_pre_tokenizer(std::string_view name);

}  // namespace llamlx
