#pragma once

#include <nlohmann/json.hpp>

#include "checkpoint/gguf_special_tokens.h"
#include "checkpoint/gguf_vocabulary.h"
#include "formats/gguf_reader.h"

namespace llamlx {

/// Which special tokens stand around every text.
struct GgufTextEnds {
  bool add_bos = false;
  bool add_eos = false;
};

/// The tokenizer.json of a byte-level BPE in GGUF metadata, as Hugging Face's
/// tokenizers (0.13 and later) read it. Errors: those of
/// make_gguf_tokenizer_files().
nlohmann::ordered_json make_gguf_bpe(const GgufFile& file,
                                     const GgufVocabulary& vocabulary,
                                     const GgufSpecialTokens& special,
                                     const GgufTextEnds& ends);

/// Whether BOS and EOS stand around texts, for tokenizers of either model.
/// Errors: Error (unsupported) for an unknown "tokenizer.ggml.pre".
GgufTextEnds read_gguf_text_ends(const GgufFile& file,
                                 const GgufSpecialTokens& special);

}  // namespace llamlx
