#include "generate/sampler.h"

#include <cmath>
#include <stdexcept>

#include <mlx/ops.h>
#include <mlx/random.h>

#include "base/concat.h"
#include "kernels/argmax/argmax.h"

namespace llamlx {

Sampler::Sampler(const SamplingOptions& options)
    : temperature_(options.temperature), key_(mx::random::key(options.seed)) {
  if (!(temperature_ >= 0) || !std::isfinite(temperature_)) {
    throw std::invalid_argument(
        concat("temperature must be 0 or more, got ", options.temperature));
  }
}

mx::array Sampler::operator()(const mx::array& logits) {
  const auto likeliest = llamlx::argmax(logits);
  if (temperature_ == 0) return likeliest;
  const auto [now, next] = mx::random::split(key_);
  key_ = next;
  const auto scaled = mx::divide(logits, mx::array(temperature_));
  const auto drawn =
      mx::astype(mx::random::categorical(scaled, -1, now), mx::int32);
  const auto is_lost = mx::equal(likeliest, mx::array(kNotFinite));
  return mx::where(is_lost, likeliest, drawn);
}

}  // namespace llamlx
