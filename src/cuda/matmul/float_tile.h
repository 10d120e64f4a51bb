#pragma once

#include "cuda/matmul/float_codes.h"
#include "cuda/matmul/weight_tile.h"

namespace llamlx::cuda {

/// Codes of kBits bits that are numbers, kGroup columns to a scale; what is
/// multiplied are numbers of bfloat16.
template <int kBits, int kGroup>
struct FloatTile {
  using Operand = Bf16;
  using Scales = Bf16;
  LLAMLX_HOST_DEVICE static constexpr PackedLayout layout() {
    return {NumberType::bf16, kBits, kGroup, true};
  }
  static constexpr int kGroups = 0;
  static constexpr int kBytes = tile_bytes(layout());

  std::uint32_t codes[kBits];  // of a lane: 2 rows of 16
  std::uint32_t scales;        // bytes: of row g and both runs, of row g + 8

  template <typename From>
  __device__ void load(const unsigned char* tile, int lane) {
#pragma unroll
    for (int i = 0; i < kBits / 4; ++i) {
      const auto v = From::load(reinterpret_cast<const Words4*>(tile) +
                                i * kWarpSize + lane);
#pragma unroll
      for (int j = 0; j < 4; ++j) codes[4 * i + j] = v.w[j];
    }
    const auto* its =
        tile + float_scale_byte(layout(), lane / 4, lane % 4 * 8 / kGroup);
    scales = From::load(reinterpret_cast<const std::uint32_t*>(its));
  }

  __device__ void fragment(int s, std::uint32_t (&a)[4]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto bytes = permute_bytes(scales, 0, half == 0 ? 0x4140 : 0x4342);
      const auto of_runs = float_scales(bytes, kBits);
      const auto scale =
          permute_bytes(of_runs, of_runs, s / 2 == 0 ? 0x1010 : 0x3232);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        a[2 * i + half] = multiply2(Bf16{}, pair(half, 2 * s + i), scale);
      }
    }
  }
  __device__ void numbers(int s, std::uint32_t (&a)[4]) const {
    fragment(s, a);
  }
  __device__ void bf16_numbers(int s, std::uint32_t (&a)[4]) const {
    fragment(s, a);
  }
  /// numbers() of all steps.
  __device__ void make_numbers(std::uint32_t (&a)[4][4]) const {
#pragma unroll
    for (int s = 0; s < 4; ++s) fragment(s, a[s]);
  }
  __device__ float scale(int, int) const { return 1; }
  __device__ float bias(int, int) const { return 0; }

 private:
  /// Pair `which` (0 to 7) of a row's codes.
  __device__ std::uint32_t pair(int half, int which) const {
    // Where the first lane's lie is where all lanes' do.
    const PlaceInTile place(8 * half, which / 4 * 32 + which % 4 * 2);
    const int byte = place.low_word_byte(kBits);
    return float_codes(codes[byte / 512 * 4 + byte % 512 / 4],
                       place.low_bit(kBits), kBits);
  }
};

}  // namespace llamlx::cuda
