#pragma once

#include <cstdint>
#include <span>

#include "generate/score.h"
#include "tokenizer/tokenizer.h"

namespace llamlx {

/// Gives both models the same text, token by token, and compares what they
/// expect next; texts are cut as score() cuts them, by the shorter context.
///
/// Memory is bounded by the caches and the logits of a few rows. Sums in
/// float64. Errors: std::invalid_argument as score(); Error (mismatch) when the
/// vocabularies have different sizes, (not_finite) when logits are not finite.
Comparison compare(const Decoder& a, const Decoder& b,
                   std::span<const std::int32_t> ids);

/// Errors: Error (mismatch) unless the two sizes are equal.
void check_same_vocabulary_size(int a, int b);

/// Errors: Error (mismatch) unless every id means the same to both, so that
/// distributions over ids can be compared.
void check_same_vocabulary(const Tokenizer& a, const Tokenizer& b);

}  // namespace llamlx
