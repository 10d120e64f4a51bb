#pragma once

#include <memory>
#include <string>

#include "tokenizer/bpe_tokenizer.h"
#include "tokenizer/tokenizer_config.h"
#include "tokenizer/tokenizer_json_file.h"

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

/// The parts that a tokenizer.json describes, with the BOS and EOS that
/// `config` names. `json` may as well be made from another format's `file`.
/// Errors: Error, as load_tokenizer_json.
BpeTokenizerParts assemble_tokenizer(TokenizerJsonFile json,
                                     const std::string& file,
                                     const TokenizerConfig& config);

}  // namespace llamlx
