#include "generate/sampler.h"

#include <cmath>
#include <stdexcept>

#include <mlx/ops.h>
#include <mlx/random.h>

#include "base/concat.h"

namespace llamlx {

Sampler::Sampler(const SamplingOptions& options)
    : temperature_(options.temperature), key_(mx::random::key(options.seed)) {
  if (!(temperature_ >= 0) || !std::isfinite(temperature_)) {
    throw std::invalid_argument(
        concat("temperature must be 0 or more, got ", options.temperature));
  }
}

mx::array Sampler::operator()(const mx::array& logits) {
  if (temperature_ == 0) return mx::argmax(logits, -1);
  const auto [now, next] = mx::random::split(key_);
  key_ = next;
  const auto scaled = mx::divide(logits, mx::array(temperature_));
  return mx::random::categorical(scaled, -1, now);
}

}  // namespace llamlx
