#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/tokenizer_files.h"

namespace llamlx {

/// What the files beside a tokenizer say of it: tokenizer_config.json, and the
/// older special_tokens_map.json and added_tokens.json where that is silent.
struct TokenizerConfig {
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::optional<std::string> unk_token;
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
  std::optional<bool> add_prefix_space;
  std::optional<bool> legacy;
  std::vector<AddedToken> added_tokens;  ///< ids are at least 0
};

/// Reads what there is of those files. Errors: Error (corrupt_file) naming the
/// file; those of MappedFile.
TokenizerConfig read_tokenizer_config(const TokenizerFiles& files);

}  // namespace llamlx
