#pragma once

#include <memory>

#include "tokenizer/tokenizer.h"

namespace llamlx {

/// Loads tokenizer.json: Hugging Face's description of a tokenizer,
/// whose model must be BPE. Ids and texts equal those of the tokenizers package
/// (0.23; decode() with skip_special_tokens). "truncation" and "padding" are
/// the caller's business, as in transformers.
///
/// Added tokens have the ids that the file gives them; a file whose added
/// tokens contradict its vocabulary is refused.
///
/// Errors: Error naming the file and the component: unsupported for what is not
/// known, corrupt_file for what contradicts the format; those of MappedFile.
/// Source: https://huggingface.co/docs/tokenizers/api/tokenizer and its
/// siblings
std::unique_ptr<Tokenizer> load_tokenizer_json(const TokenizerFiles& files);

}  // namespace llamlx
