#pragma once

#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "formats/gguf_reader.h"

namespace llamlx {

/// The files that Hugging Face's tokenizers read, made from the tokenizer in
/// the metadata of `file`; `config` is its config.json:
///
/// - "tokenizer.ggml.model" is "gpt2": tokenizer.json, a byte-level BPE whose
///   way of cutting text is found by "tokenizer.ggml.pre" in a table;
/// - it is "llama": tokenizer.model, a SentencePiece model;
/// - with both, tokenizer_config.json, which holds the chat template too;
/// - always, if the file names such ids, generation_config.json.
///
/// Errors: Error: unsupported naming other models and other values of "pre";
/// corrupt_file for lists of unequal length, repeated tokens, merges of tokens
/// that do not exist, and text that is not UTF-8.
std::vector<SideFile> make_gguf_tokenizer_files(const GgufFile& file,
                                                const Json& config);

/// Oddities of the tokenizer's metadata that do not stop anything.
std::vector<std::string> gguf_tokenizer_notices(const GgufFile& file);

}  // namespace llamlx
