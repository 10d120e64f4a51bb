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
  const double turns = rope.original_context / wavelength;
  const double low = rope.low_freq_factor;
  const double high = rope.high_freq_factor;
  const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
  return kept * frequency + (1 - kept) * frequency / rope.factor;
}

/// The pair (as a real number) that makes `turns` turns in the old context.
double yarn_pair(double turns, const RopeConfig& rope, int head_dim) {
  const double wavelength = rope.original_context / turns;
  return head_dim * std::log(wavelength / (2 * std::numbers::pi)) /
         (2 * std::log(double{rope.theta}));
}

/// Pairs that turn fast are kept, slow ones stretched by `factor`, and those
/// between blended by their index.
std::vector<double> yarn_frequencies(std::vector<double> frequencies,
                                     const RopeConfig& rope, int head_dim) {
  double low = yarn_pair(rope.beta_fast, rope, head_dim);
  double high = yarn_pair(rope.beta_slow, rope, head_dim);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, head_dim - 1.0);
  if (low == high) high += 0.001;  // as transformers does
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = (static_cast<double>(i) - low) / (high - low);
    const double stretched = std::clamp(ramp, 0.0, 1.0);
    frequencies[i] *= (1 - stretched) + stretched / rope.factor;
  }
  return frequencies;
}

/// The base that stretches the longest wave as a sequence outgrows the context.
double dynamic_theta(const RopeConfig& rope, int head_dim, int length) {
  const double context = rope.original_context;
  const double growth =
      rope.factor * std::max<double>(length, context) / context -
      (rope.factor - 1);
  return rope.theta * std::pow(growth, head_dim / (head_dim - 2.0));
}

std::vector<double> plain_frequencies(double theta, int head_dim) {
  std::vector<double> frequencies(head_dim / 2);
  for (int i = 0; i < head_dim / 2; ++i) {
    frequencies[i] = std::pow(theta, -2.0 * i / head_dim);
  }
  return frequencies;
}

std::vector<double> scaled_frequencies(const RopeConfig& rope, int head_dim,
                                       int length) {
  auto plain = plain_frequencies(rope.theta, head_dim);
  switch (rope.scaling) {
    case RopeConfig::Scaling::none:
      break;
    case RopeConfig::Scaling::linear:
      for (double& frequency : plain) frequency /= rope.factor;
      break;
    case RopeConfig::Scaling::dynamic:
      return plain_frequencies(dynamic_theta(rope, head_dim, length), head_dim);
    case RopeConfig::Scaling::llama3:
      for (double& frequency : plain) {
        frequency = llama3_frequency(frequency, rope);
      }
      break;
    case RopeConfig::Scaling::yarn:
      return yarn_frequencies(std::move(plain), rope, head_dim);
  }
  return plain;
}

}  // namespace

std::vector<float> rope_periods(const RopeConfig& rope, int head_dim,
                                int length) {
  std::vector<float> periods;
  for (const double frequency : scaled_frequencies(rope, head_dim, length)) {
    periods.push_back(static_cast<float>(1 / frequency));
  }
  return periods;
}

}  // namespace llamlx
