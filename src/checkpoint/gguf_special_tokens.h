#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "formats/gguf_reader.h"

namespace llamlx {

/// The ids that "tokenizer.ggml.*_token_id" name. Ids that the vocabulary does
/// not have are dropped, with a notice.
struct GgufSpecialTokens {
  std::optional<std::int32_t> bos;
  std::optional<std::int32_t> eos;
  std::optional<std::int32_t> unk;
  std::optional<std::int32_t> pad;
  /// What ends an answer: eos, and the ends of a turn and of a message where
  /// the file names them.
  std::vector<std::int32_t> eos_ids;
  std::vector<std::string> notices;

  /// "eos_token_id" as Hugging Face writes it: a number, or a list of several.
  Json eos_json() const;
};

GgufSpecialTokens read_gguf_special_tokens(const GgufFile& file);

}  // namespace llamlx
