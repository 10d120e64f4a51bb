#include "generate/sampler.h"

#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include <mlx/device.h>
#include <mlx/random.h>

#include "base/concat.h"
#include "kernels/argmax/argmax.h"
#include "kernels/draw/draw.h"

namespace llamlx {

Sampler::Sampler(const SamplingOptions& options)
    : temperature_(options.temperature),
      random_(options.seed),
      key_(mx::random::key(options.seed)) {
  if (!(temperature_ >= 0) || !std::isfinite(temperature_)) {
    throw std::invalid_argument(
        concat("temperature must be 0 or more, got ", options.temperature));
  }
}

mx::array Sampler::operator()(const mx::array& logits) {
  if (temperature_ == 0) return llamlx::argmax(logits);
  auto random = random_;
  if (auto tokens = draw_on_gpu(logits, temperature_, random())) {
    random_ = random;
    return *std::move(tokens);
  }
  if (mx::default_device() == mx::Device::cpu) {
    std::vector<double> uniform(static_cast<std::size_t>(logits.shape(0)));
    for (auto& number : uniform) {
      number = static_cast<double>(random_() >> 11) * 0x1p-53;
    }
    return draw_cpu(logits, temperature_, std::move(uniform));
  }
  const auto [now, next] = mx::random::split(key_);
  key_ = next;
  return draw_mlx(logits, temperature_, now);
}

}  // namespace llamlx
