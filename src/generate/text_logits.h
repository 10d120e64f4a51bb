#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "models/decoder.h"

namespace llamlx {

/// A run of tokens of a text that go through a model together, each followed
/// by the token it should predict.
struct TextChunk {
  std::size_t begin;   ///< of the first token that is read
  std::size_t length;  ///< how many are read
  std::size_t window;  ///< tokens of the window that begins here; 0: none does
};

/// Cuts a text of `tokens` tokens into consecutive windows of `context` tokens
/// that overlap by one, so that each token but the first is predicted once, and
/// those into chunks of at most `rows` tokens, so that their logits fit.
std::vector<TextChunk> cut_text(std::size_t tokens, std::size_t context,
                                std::size_t rows);

/// How many tokens a text's window may have for this model.
std::size_t window_size(const Decoder& decoder);

/// What one model says of one text, chunk by chunk. Threads: one at a time.
class TextLogits {
 public:
  /// Both must outlive the object. Errors: std::invalid_argument for fewer than
  /// two ids, or ids outside the vocabulary.
  TextLogits(const Decoder& decoder, std::span<const std::int32_t> ids);

  /// The logits [L, V], float32, after each token of the chunk, row by row;
  /// valid until the next call. Chunks must come in order.
  std::span<const float> read(const TextChunk& chunk);

  /// The tokens that the rows of `chunk` should predict.
  std::span<const std::int32_t> targets(const TextChunk& chunk) const;

 private:
  const Decoder& decoder_;
  std::span<const std::int32_t> ids_;
  std::unique_ptr<KVCache> cache_;
  std::optional<mx::array> logits_;
};

/// log(sum(exp(logits))), in float64: MLX's CPU sums 49152 float32 terms one
/// after another, which loses small ones.
double log_sum_exp(std::span<const float> logits);

}  // namespace llamlx
