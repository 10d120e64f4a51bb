#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace llamlx {

// The parts of the tokenizer.json of a byte-level BPE, for files made from
// other formats. Hugging Face's tokenizers (0.13 and later) read them.

using OrderedJson = nlohmann::ordered_json;

/// Text to the byte-level alphabet and back; `use_regex`: cut into words as
/// GPT-2 does.
OrderedJson byte_level_json(bool use_regex);

/// Text cut by a regular expression, and what lies between its matches kept as
/// words of its own or, without `keeps_gaps`, left out.
OrderedJson split_json(std::string_view regex, bool keeps_gaps = true);

/// `steps` as one pre-tokenizer; they must not be empty.
OrderedJson pre_tokenizer_json(std::vector<OrderedJson> steps);

/// A token that is sought in raw text.
OrderedJson added_token_json(std::size_t id, std::string_view content,
                             bool special);

struct TextEnd {
  std::int32_t id;
  std::string_view content;
};

/// Puts BOS and EOS around a text, and around each of two. Null without both.
OrderedJson text_ends_json(const std::optional<TextEnd>& bos,
                           const std::optional<TextEnd>& eos);

/// What the others are put together into.
struct BpeJsonParts {
  OrderedJson added_tokens;    ///< an array
  OrderedJson normalizer;      ///< null: none
  OrderedJson pre_tokenizer;   ///< null: none
  OrderedJson post_processor;  ///< null: none
  bool ignore_merges = false;
  OrderedJson vocab;   ///< token to id; of the byte-level alphabet
  OrderedJson merges;  ///< "left right", the first to be merged first
};

/// A whole tokenizer.json.
OrderedJson bpe_tokenizer_json(BpeJsonParts parts);

}  // namespace llamlx
