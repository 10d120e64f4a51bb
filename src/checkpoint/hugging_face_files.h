#pragma once

#include <optional>
#include <vector>

#include "base/json.h"
#include "checkpoint/checkpoint.h"

namespace llamlx {

/// What Hugging Face's tokenizers and mlx_lm need besides `files`, those of a
/// model told in Meta's words: nothing where a tokenizer.json is among them;
/// of a tiktoken file make_tiktoken_files(); of a SentencePiece model the
/// tokenizer_config.json that says so and names its special tokens. `config` is
/// the model's config.json. Files that are there already are not made again.
///
/// Errors: those of make_tiktoken_files() and Tokenizer::load().
std::vector<SideFile> make_hugging_face_files(
    const std::vector<SideFile>& files, const Json& config);

/// The generation_config.json that tells the ids in `config` which end a text,
/// for a layout whose own config has no word for them. Empty where `files` hold
/// one, and where the SentencePiece model among them says the same.
std::optional<SideFile> make_generation_config(
    const std::vector<SideFile>& files, const Json& config);

}  // namespace llamlx
