#pragma once

#include <cmath>

#include "cuda/values.h"

namespace llamlx::cuda {

/// How a pass chooses tokens: the likeliest, or one drawn from
/// softmax(logits / temperature) as `key` decides, each row by itself.
struct Draw {
  float temperature;  ///< from 0 (the likeliest) to kHighestTemperature
  std::uint32_t key[2];
};

/// By which all tokens are alike.
inline constexpr float kHighestTemperature = 1e30F;

/// 32 random bits, of each index and row others: Philox4x32-10.
/// Source  Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
LLAMLX_HOST_DEVICE inline std::uint32_t random_bits(
    const std::uint32_t (&key)[2], std::uint32_t index, std::uint32_t row) {
  std::uint32_t counter[4] = {index, row, 0, 0};
  std::uint32_t keys[2] = {key[0], key[1]};
  for (int round = 0; round < 10; ++round) {
    const auto a = std::uint64_t{0xD2511F53U} * counter[0];
    const auto b = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter[0] = static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ keys[0];
    counter[2] = static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ keys[1];
    counter[1] = static_cast<std::uint32_t>(b);
    counter[3] = static_cast<std::uint32_t>(a);
    keys[0] += 0x9E3779B9U;
    keys[1] += 0xBB67AE85U;
  }
  return counter[0];
}

/// A number of the standard Gumbel distribution: the largest of
/// logits[i] / temperature + noise(i) is a draw from their softmax.
LLAMLX_HOST_DEVICE inline float gumbel_noise(const std::uint32_t (&key)[2],
                                             std::uint32_t index,
                                             std::uint32_t row) {
  // Uniform in (0, 1), with all its digits near 0, where much noise comes from.
  const float uniform =
      (static_cast<float>(random_bits(key, index, row)) + 0.5F) * 0x1p-32F;
  return -logf(-log1pf(-fminf(uniform, 1 - 0x1p-24F)));
}

/// What a logit is compared by with those of its row.
LLAMLX_HOST_DEVICE inline float value_to_compare(const Draw& draw, float logit,
                                                 int index, int row) {
  if (draw.temperature == 0) return logit;
  return logit + draw.temperature *
                     gumbel_noise(draw.key, static_cast<std::uint32_t>(index),
                                  static_cast<std::uint32_t>(row));
}

/// What differs from pass to pass in how tokens are chosen.
struct Choice {
  int slot;  ///< which of the host's places they go to (ArgmaxArgs)
  Draw draw;
};

}  // namespace llamlx::cuda
