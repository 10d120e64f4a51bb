#pragma once

#include "cuda/matmul/float_codes.h"
#include "cuda/matmul/packed_weight.h"

namespace llamlx::cuda {

/// A number of any type, read as float32.
__device__ inline float read_number(const void* p, NumberType type) {
  if (type == NumberType::f32) return *static_cast<const float*>(p);
  const auto half = *static_cast<const std::uint16_t*>(p);
  return type == NumberType::f16 ? unpack(F16{}, half) : unpack(Bf16{}, half);
}

/// So many bits of a word.
__device__ inline std::uint32_t bits_of(const unsigned char* word, int shift,
                                        int bits) {
  return (*reinterpret_cast<const std::uint32_t*>(word) >> shift) &
         ((1U << bits) - 1U);
}

/// One number of a weight of nvfp4 or mxfp8.
__device__ inline float read_float(const unsigned char* weight,
                                   PackedLayout layout, int tiles, int row,
                                   int col) {
  const auto* tile = weight + (static_cast<long long>(row / kTileRows) * tiles +
                               col / kTileCols) *
                                  tile_bytes(layout);
  const PlaceInTile place(row % kTileRows, col % kTileCols);
  const auto code = bits_of(tile + place.low_word_byte(layout.bits),
                            place.low_bit(layout.bits), layout.bits);
  const auto scale = tile[float_scale_byte(layout, row % kTileRows,
                                           col % kTileCols / layout.group)];
  const auto number = multiply2(Bf16{}, float_codes(code, 0, layout.bits),
                                float_scales(scale, layout.bits));
  return unpack(Bf16{}, static_cast<std::uint16_t>(number));
}

/// One number of any other packed weight.
__device__ inline float read_plain(const unsigned char* weight,
                                   const PackedLayout& layout, int tiles,
                                   int row, int col) {
  const auto* tile = weight + (static_cast<long long>(row / kTileRows) * tiles +
                               col / kTileCols) *
                                  plain_tile_bytes(layout);
  const PlaceInTile place(row % kTileRows, col % kTileCols);
  if (layout.bits == 0) {
    return read_number(tile + place.dense_byte(number_bytes(layout.type)),
                       layout.type);
  }
  const int low = low_bits(layout.bits);
  const int high = high_bits(layout.bits);
  auto code = bits_of(tile + place.low_word_byte(low), place.low_bit(low), low);
  if (high > 0) {
    code |= bits_of(tile + plane_bytes(low) + place.high_word_byte(high),
                    place.high_bit(high), high)
            << low;
  }
  const auto* scale = tile + scale_byte(layout, row % kTileRows,
                                        col % kTileCols / layout.group);
  return fmaf(read_number(scale, layout.type), static_cast<float>(code),
              read_number(scale + number_bytes(layout.type), layout.type));
}

/// One number of a packed weight, as float32.
__device__ inline float read_packed(const unsigned char* weight,
                                    PackedLayout layout, int tiles, int row,
                                    int col) {
  return layout.has_floats ? read_float(weight, layout, tiles, row, col)
                           : read_plain(weight, layout, tiles, row, col);
}

}  // namespace llamlx::cuda
