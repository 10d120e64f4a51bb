#pragma once

#include <memory>
#include <string>

#include "tokenizer/tokenizer.h"

namespace llamlx {

/// Loads the file `name`, a SentencePiece model (BPE or unigram), with
/// what tokenizer_config.json, special_tokens_map.json and added_tokens.json
/// say of it.
///
/// Ids of plain text, and decoded text, are those of the SentencePiece library;
/// so a text that begins with a space gets another one before it.
/// Around that it does as transformers' LlamaTokenizer: control, user-defined
/// and added tokens and the unknown token are recognised in a text; what
/// follows one begins with no extra space unless the configuration says
/// "legacy"; BOS comes first unless "add_bos_token" is false or the model has
/// none, EOS last if "add_eos_token" is true.
///
/// Errors: Error naming the file, as read_sentencepiece_model and
/// read_tokenizer_config; corrupt_file when the library refuses the model.
std::unique_ptr<Tokenizer> load_sentencepiece_tokenizer(
    const TokenizerFiles& files, const std::string& name = "tokenizer.model");

}  // namespace llamlx
