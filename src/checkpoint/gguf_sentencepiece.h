#pragma once

#include <string>

#include "checkpoint/gguf_special_tokens.h"
#include "checkpoint/gguf_vocabulary.h"
#include "formats/gguf_reader.h"

namespace llamlx {

/// The tokenizer.model of a SentencePiece BPE in GGUF metadata: a serialized
/// sentencepiece.ModelProto. Pieces, scores and types are the file's; the
/// normalizer is "identity" and escapes spaces, with a space before the text
/// unless "tokenizer.ggml.add_space_prefix" is false.
///
/// Errors   those of make_gguf_tokenizer_files(), and what SentencePiece itself
///          demands: one unknown token, and either none or all 256 byte tokens.
/// Source   https://github.com/google/sentencepiece, sentencepiece_model.proto
std::string make_gguf_sentencepiece(const GgufFile& file,
                                    const GgufVocabulary& vocabulary,
                                    const GgufSpecialTokens& special);

/// "tokenizer.ggml.add_space_prefix", true when the file does not say.
bool adds_space_prefix(const GgufFile& file);

}  // namespace llamlx
