#include "generate/score.h"

#include <cmath>

#include "generate/finite.h"
#include "generate/text_logits.h"

namespace llamlx {

Score score(const Decoder& decoder, std::span<const std::int32_t> ids) {
  constexpr std::size_t kRowsAtOnce = 256;
  TextLogits text(decoder, ids);
  double sum = 0;
  for (const auto& chunk :
       cut_text(ids.size(), window_size(decoder), kRowsAtOnce)) {
    const auto logits = text.read(chunk);
    const auto vocab_size = logits.size() / chunk.length;
    const float* row = logits.data();
    for (const auto target : text.targets(chunk)) {
      sum += log_sum_exp({row, vocab_size}) - row[target];
      row += vocab_size;
    }
    if (!std::isfinite(sum)) fail_not_finite(decoder);
  }
  return make_score(sum, static_cast<std::int64_t>(ids.size()) - 1);
}

Score make_score(double sum_nll, std::int64_t tokens) {
  const double mean = sum_nll / static_cast<double>(tokens);
  return {mean, std::exp(mean), tokens};
}

}  // namespace llamlx
