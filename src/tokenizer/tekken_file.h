#pragma once

#include <string>
#include <string_view>

#include "tokenizer/ranked_tokenizer.h"

namespace llamlx {

/// Reads Mistral's tekken.json: tokens by rank, as many of the first as the
/// vocabulary's size leaves room for; special tokens, whose ids come before
/// those of the others; and the regular expression that cuts text, which is
/// read in the syntax of regex.h. Special tokens that the file does not name
/// are "<SPECIAL_id>"; files of the versions up to v7 may name none, and then
/// have Mistral's usual ones.
///
/// Errors: Error naming `file` and the place: corrupt_file as RankedTokens, for
/// what is not JSON or lacks its parts, for sizes that contradict each other
/// and ids of special tokens out of range or taken; unsupported for a pattern
/// that cannot be compiled.
/// Source: the mistral-common package, tokens/tokenizers/tekken.py.
RankedTokenizer read_tekken(std::string_view bytes, const std::string& file);

}  // namespace llamlx
