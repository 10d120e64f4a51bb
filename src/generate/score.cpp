#include "generate/score.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <mlx/ops.h>

#include "generate/generator.h"

namespace llamlx {
namespace {

constexpr std::size_t kRowsAtOnce = 256;
// For models that do not say how far they see.
constexpr std::size_t kDefaultContext = 2048;

/// The negative log likelihood of `target` given one row of logits.
/// In float64: MLX's CPU sums 49152 float32 terms one after another, which
/// loses small ones and makes every likelihood look better than it is.
double nll(std::span<const float> logits, std::int32_t target) {
  const double largest = std::ranges::max(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum) - logits[target];
}

/// The negative log likelihoods of targets [L], summed, given logits [L, V].
double sum_nll(mx::array logits, std::span<const std::int32_t> targets) {
  logits = mx::contiguous(logits);
  logits.eval();
  const auto vocab_size = static_cast<std::size_t>(logits.shape(1));
  const auto* row = logits.data<float>();
  double sum = 0;
  for (const auto target : targets) {
    sum += nll({row, vocab_size}, target);
    row += vocab_size;
  }
  return sum;
}

/// Scores ids[1..] of one window.
double score_window(const Decoder& decoder, std::span<const std::int32_t> ids) {
  const auto inputs = ids.first(ids.size() - 1);
  const auto cache = decoder.make_cache(static_cast<int>(inputs.size()));
  cache->expect(static_cast<int>(inputs.size()));
  double sum = 0;
  for (std::size_t begin = 0; begin < inputs.size(); begin += kRowsAtOnce) {
    const auto rows = std::min(kRowsAtOnce, inputs.size() - begin);
    const auto part = inputs.subspan(begin, rows);
    const int length = static_cast<int>(rows);
    const auto x = decoder.forward(mx::array(part.begin(), {length}, mx::int32),
                                   {{cache.get(), length}});
    sum += sum_nll(decoder.logits(x), ids.subspan(begin + 1, rows));
  }
  return sum;
}

}  // namespace

Score score(const Decoder& decoder, std::span<const std::int32_t> ids) {
  if (ids.size() < 2) {
    throw std::invalid_argument("at least two tokens are needed for a score");
  }
  check_ids(decoder, ids);
  const int declared = decoder.config().context_length();
  const auto context =
      declared > 0 ? static_cast<std::size_t>(declared) : kDefaultContext;
  double sum = 0;
  for (std::size_t begin = 0; begin + 1 < ids.size(); begin += context) {
    const auto length = std::min(context + 1, ids.size() - begin);
    sum += score_window(decoder, ids.subspan(begin, length));
  }
  const auto tokens = static_cast<std::int64_t>(ids.size()) - 1;
  const double mean = sum / static_cast<double>(tokens);
  return {mean, std::exp(mean), tokens};
}

}  // namespace llamlx
