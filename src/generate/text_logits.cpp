#include "generate/text_logits.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <mlx/ops.h>

#include "generate/generator.h"

namespace llamlx {

std::vector<TextChunk> cut_text(std::size_t tokens, std::size_t context,
                                std::size_t rows) {
  std::vector<TextChunk> chunks;
  for (std::size_t begin = 0; begin + 1 < tokens; begin += context) {
    const auto window = std::min(context, tokens - 1 - begin);
    for (std::size_t done = 0; done < window; done += rows) {
      chunks.push_back({begin + done, std::min(rows, window - done),
                        done == 0 ? window : 0});
    }
  }
  return chunks;
}

std::size_t window_size(const Decoder& decoder) {
  // For models that do not say how far they see.
  constexpr std::size_t kDefault = 2048;
  const int declared = decoder.config().context_length();
  return declared > 0 ? static_cast<std::size_t>(declared) : kDefault;
}

TextLogits::TextLogits(const Decoder& decoder,
                       std::span<const std::int32_t> ids)
    : decoder_(decoder), ids_(ids) {
  if (ids.size() < 2) {
    throw std::invalid_argument("at least two tokens are needed for a score");
  }
  check_ids(decoder, ids);
}

std::span<const float> TextLogits::read(const TextChunk& chunk) {
  if (chunk.window > 0) {
    cache_ = decoder_.make_cache(static_cast<int>(chunk.window));
    cache_->expect(static_cast<int>(chunk.window));
  }
  const auto part = ids_.subspan(chunk.begin, chunk.length);
  const int length = static_cast<int>(chunk.length);
  // Before the next are made: two chunks' logits need not be in memory.
  logits_.reset();
  const auto x = decoder_.forward(mx::array(part.begin(), {length}, mx::int32),
                                  {{cache_.get(), length}});
  logits_ = mx::contiguous(decoder_.logits(x));
  logits_->eval();
  return {logits_->data<float>(), logits_->size()};
}

std::span<const std::int32_t> TextLogits::targets(
    const TextChunk& chunk) const {
  return ids_.subspan(chunk.begin + 1, chunk.length);
}

double log_sum_exp(std::span<const float> logits) {
  const double largest = std::ranges::max(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

}  // namespace llamlx
