#pragma once

#include <filesystem>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace llamlx {

/// The files that Hugging Face's tokenizers read, made from `path`, a file of
/// tiktoken's, as Meta ships Llama 3 and 4: tokenizer.json and
/// tokenizer_config.json, which encode and decode as tiktoken does, and
/// generation_config.json with the tokens that end an answer. `config` is the
/// model's config.json. None when `path` is no text, but a SentencePiece model.
///
/// Errors: those of MappedFile, read_tiktoken and list_ranked_merges.
std::vector<SideFile> make_tiktoken_files(const std::filesystem::path& path,
                                          const Json& config);

}  // namespace llamlx
