#pragma once

#include "cuda/matmul/weight_tile.h"

namespace llamlx::cuda {

/// Which two of a word's four bytes.
enum class Pair : std::uint32_t {
  low = 0x5150,
  high = 0x5352,
  even = 0x5250,
  odd = 0x5351
};

/// Two whole numbers of 8 bits as numbers of bfloat16: 128 and the low seven
/// bits of each, less 128, or 256 if its sign is set.
__device__ inline std::uint32_t code_pair(std::uint32_t codes, Pair which) {
  constexpr std::uint32_t kMinusOne = 0xbf80bf80U;
  const auto words =
      permute_bytes(codes, kBf16Magic, static_cast<std::uint32_t>(which));
  return fma2(Bf16{}, words & 0xff80ff80U, kMinusOne, words & 0xff7fff7fU);
}

}  // namespace llamlx::cuda
