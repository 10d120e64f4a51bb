#pragma once

#include <string>
#include <string_view>

#include "tokenizer/ranked_tokenizer.h"

namespace llamlx {

/// Whether `bytes` are text, as tiktoken's files are and SentencePiece's
/// models never: judged by how they begin.
bool is_tiktoken(std::string_view bytes);

/// Reads tiktoken's file of tokens, a line each: base64, a space, the rank.
/// Such a file says neither how text is cut nor which tokens are special: that
/// is known here of Llama 3 and Llama 4, told apart by how many tokens there
/// are (128000 and 200000), and of no others.
///
/// Errors: Error naming `file`, and the line: corrupt_file as RankedTokens;
/// unsupported for vocabularies of other sizes.
/// Source: Meta's llama-models package, llama3/ and llama4/tokenizer.py.
RankedTokenizer read_tiktoken(std::string_view bytes, const std::string& file);

}  // namespace llamlx
