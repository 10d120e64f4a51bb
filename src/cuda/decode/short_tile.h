#pragma once

#include "cuda/decode/short_bf16.h"
#include "cuda/decode/tiles.h"

namespace llamlx::cuda {

/// A tile of short_bf16.h as a lane holds it: as weight_tile.h has others, but
/// that its numbers are multiples of `scale`, and exceptions are not among
/// them.
struct ShortBf16Tile {
  using Operand = F16;
  using Scales = Bf16;
  /// Of what it was made of, beside which x is as beside this.
  LLAMLX_HOST_DEVICE static constexpr PackedLayout layout() {
    return {NumberType::bf16, 0, 0};
  }
  static constexpr int kGroups = 0;
  static constexpr int kBytes = kShortTileBytes;

  Words4 words[3];
  float scale;
  int count;  // of exceptions

  static __device__ const ShortHeader& header(const unsigned char* tile) {
    return *reinterpret_cast<const ShortHeader*>(tile + kShortHeaderByte);
  }

  template <typename From>
  __device__ void load(const unsigned char* tile, int lane) {
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      words[i] = From::load(reinterpret_cast<const Words4*>(tile) +
                            i * kWarpSize + lane);
    }
    const auto head =
        From::load(reinterpret_cast<const Words2*>(&header(tile)));
    scale = __uint_as_float(head.w[0]);
    count = static_cast<int>(head.w[1]);
  }

  __device__ void fragment(int s, std::uint32_t (&a)[4]) const {
    std::uint32_t w[3];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      w[i] = words[i].w[s];
      a[i] = w[i] & kShortBits;
    }
    // hide_fourth(), backwards. Of each byte: bits 5, 4 and 3; bit 7; the rest.
    const auto lows = permute_bytes(w[0], w[1], 0x2604) << 3;
    const auto tops = permute_bytes(w[0], w[1], 0x3715) << 1;
    const auto rest = permute_bytes(w[2], w[2], 0x2301);
    a[3] = (lows & 0x38383838U) | (tops & 0x80808080U) | (rest & 0x07400740U);
  }
};

__device__ inline void multiply_input(const ShortBf16Tile& tile,
                                      const LaneOfInput<ShortBf16Tile>& from,
                                      float (&acc)[2]) {
  add_numbers(tile, from, from.groups->scale * tile.scale, acc);
}

/// acc += the product of an exception: the lanes that have sums of its row.
__device__ inline void add_exception(ShortException its,
                                     const LaneOfInput<ShortBf16Tile>& from,
                                     unsigned lane, float (&acc)[2]) {
  const float product =
      __uint_as_float(its.float_bits()) * from.number(lane, its.col());
  if (static_cast<int>(lane / 4) != its.row() % 8) return;
  acc[0] += its.row() < 8 ? product : 0;
  acc[1] += its.row() < 8 ? 0 : product;
}

/// Most tiles have none: one look tells of all that are multiplied at once.
template <int kCount>
__device__ void add_exceptions(const ShortBf16Tile (&held)[kCount],
                               const unsigned char* tile,
                               LaneOfInput<ShortBf16Tile> from, unsigned lane,
                               float (&acc)[2]) {
  int some = 0;
#pragma unroll
  for (int i = 0; i < kCount; ++i) some |= held[i].count;
  if (some == 0) return;
#pragma unroll 1
  for (int i = 0; i < kCount; ++i) {
    const auto& header = ShortBf16Tile::header(tile);
#pragma unroll 1
    for (int j = 0; j < header.count; ++j) {
      add_exception(header.exceptions[j], from, lane, acc);
    }
    tile += ShortBf16Tile::kBytes;
    from = from.at(1);
  }
}

}  // namespace llamlx::cuda
