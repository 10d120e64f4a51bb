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

/// The negative log likelihood of targets [L], summed, given logits [L, V].
double sum_nll(const mx::array& logits, std::span<const std::int32_t> targets) {
  const int rows = static_cast<int>(targets.size());
  const mx::array index(targets.begin(), {rows, 1}, mx::int32);
  const auto chosen = mx::take_along_axis(logits, index, 1);
  const auto nll =
      mx::subtract(mx::logsumexp(logits, 1, /*keepdims=*/true), chosen);
  auto flat = mx::contiguous(nll);
  flat.eval();
  const auto* values = flat.data<float>();
  double sum = 0;
  for (int i = 0; i < rows; ++i) sum += values[i];
  return sum;
}

/// Scores ids[1..] of one window.
double score_window(const Decoder& decoder, std::span<const std::int32_t> ids) {
  const auto inputs = ids.first(ids.size() - 1);
  const auto cache = decoder.make_cache(static_cast<int>(inputs.size()));
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
  const int declared = decoder.config().max_position_embeddings;
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
