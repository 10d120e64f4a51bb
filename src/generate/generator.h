#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "generate/sampler.h"
#include "llamlx/llamlx.h"
#include "models/decoder.h"
#include "tokenizer/tokenizer.h"

namespace llamlx {

/// What generation needs of a loaded model.
struct GeneratorModel {
  const Decoder& decoder;
  const Tokenizer* tokenizer;  ///< null: results have no text
  std::vector<std::int32_t> eos_ids;
};

/// Continues `prompt_ids` by one token after another.
///
/// Stops at an end-of-sequence token, before a stop string, after max_tokens,
/// at the end of the model's context, or when `on_delta` returns false.
/// Errors: std::invalid_argument for an empty prompt, ids outside the
/// vocabulary, or negative max_tokens; Error (context_overflow) when the prompt
/// alone is longer than the model's context, (not_found) for stop strings
/// without a tokenizer, (not_finite) when logits are not finite.
Result generate(const GeneratorModel& model,
                std::span<const std::int32_t> prompt_ids,
                const GenerateOptions& options, const StreamFn& on_delta);

/// Runs `ids` through the decoder in chunks that bound memory, and returns the
/// hidden states [1, D] of the last one. Evaluated.
mx::array prefill(const Decoder& decoder, KVCache& cache,
                  std::span<const std::int32_t> ids);

/// Rows of the cache that are allocated for tokens to come, at most: asking for
/// a million tokens should not cost their memory before the first.
inline constexpr int kRowsAhead = 2048;

/// Throws std::invalid_argument unless every id is in the decoder's vocabulary.
void check_ids(const Decoder& decoder, std::span<const std::int32_t> ids);

/// The tokens that end a text: generation_config.json's eos_token_id, else
/// config.json's, else the tokenizer's.
std::vector<std::int32_t> eos_token_ids(const Checkpoint& checkpoint,
                                        const Tokenizer* tokenizer);

}  // namespace llamlx
