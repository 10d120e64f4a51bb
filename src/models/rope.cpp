#include "models/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace llamlx {
namespace {

/// Short waves stay, waves longer than the old context are stretched by
/// `factor`, and those between are blended.
double llama3_frequency(double frequency, const RopeConfig& rope) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double turns = rope.original_max_position_embeddings / wavelength;
  const double low = rope.low_freq_factor;
  const double high = rope.high_freq_factor;
  const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
  return kept * frequency + (1 - kept) * frequency / rope.factor;
}

double scaled_frequency(double frequency, const RopeConfig& rope) {
  switch (rope.scaling) {
    case RopeConfig::Scaling::none:
      return frequency;
    case RopeConfig::Scaling::linear:
      return frequency / rope.factor;
    case RopeConfig::Scaling::llama3:
      return llama3_frequency(frequency, rope);
  }
  return frequency;
}

}  // namespace

std::vector<float> rope_periods(const RopeConfig& rope, int head_dim) {
  std::vector<float> periods(head_dim / 2);
  for (int i = 0; i < head_dim / 2; ++i) {
    const double exponent = 2.0 * i / head_dim;
    const double frequency = std::pow(double{rope.theta}, -exponent);
    periods[i] = static_cast<float>(1 / scaled_frequency(frequency, rope));
  }
  return periods;
}

}  // namespace llamlx
