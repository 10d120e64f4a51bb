#pragma once

#include <cstdint>
#include <span>

#include "llamlx/llamlx.h"
#include "models/decoder.h"

namespace llamlx {

/// Scores every token of `ids` but the first, given all tokens before it; a
/// text longer than the model's context is cut into consecutive windows that
/// overlap by one token, so that each token but the first is scored once.
///
/// Memory is bounded by the cache and the logits of 256 rows. Sums in float64.
/// Errors: std::invalid_argument for fewer than two ids, or ids outside the
/// vocabulary; Error (not_finite) when logits are not finite.
Score score(const Decoder& decoder, std::span<const std::int32_t> ids);

/// The score of `tokens` tokens whose negative log likelihoods sum to
/// `sum_nll`.
Score make_score(double sum_nll, std::int64_t tokens);

}  // namespace llamlx
