#pragma once

#include <cstddef>

#include "formats/ggml_type.h"

namespace llamlx {

/// Neighbours that share a scale and a bias in affine terms.
inline constexpr int kGgmlGroupSize = 32;
/// Values of a block of the K-quants.
inline constexpr int kGgmlSuperblock = 256;

struct GgmlGroup {
  float scale;
  float bias;
};

/// A type whose values are scale * code + bias, in groups of 32.
///
/// Layout   In the order given; "half" is a float16, bits count from the
/// lowest.
///          Blocks of one group, whose nibbles are 16 bytes: value i in the low
///          half of byte i and value i + 16 in the high half; bit i of "fifths"
///          is the fifth of value i:
///            Q4_0  half d, nibbles                    d (q - 8)
///            Q4_1  half d, half m, nibbles            d q + m
///            Q5_0  half d, fifths, nibbles            d (q - 16)
///            Q5_1  half d, half m, fifths, nibbles    d q + m
///            Q8_0  half d, 32 int8                    d q
///          Blocks of eight groups g, whose nibbles are 4 x 32 bytes: value i
///          of group 2 k in the low half of byte 32 k + i and that of group
///          2 k + 1 in the high half; bit g of byte i of "fifths" is the fifth
///          of value i of group g:
///            Q4_K  half d, half m, 12 bytes, nibbles             d s q - m o
///            Q5_K  half d, half m, 12 bytes, fifths, nibbles     d s q - m o
///          s and o are 6 bits of the 12 bytes: of g < 4 the low ones of bytes
///          g and g + 4; of the others the low and the high half of byte g + 4,
///          below the two upper bits of bytes g - 4 and g.
/// Source   ggml-common.h and ggml-quants.c of ggml.
struct GgmlAffineType {
  GgmlType type;
  int bits;
  int groups;  ///< of a block
  void (*read_groups)(const std::byte* block, GgmlGroup* groups);
  /// The codes of a block as MLX packs them, 4 * bits bytes a group.
  void (*pack)(const std::byte* block, std::byte* packed);
};

/// A type in superblocks of groups of 16, for which there are no kernels.
///
/// Layout   Q6_K  128 bytes of four low bits, 64 of two high ones, 16 int8 s,
///                half d: d s (q - 32). Of each half of the block, value
///                32 j + i has its low bits in byte 32 (j % 2) + i, in the low
///                half of the byte if j < 2, and its high ones are the j-th
///                pair of byte i.
///          Q3_K  32 bytes of third bits, 64 of pairs, 12 of scales, half d:
///                d (s - 32) (q - 4). Pairs lie as the high ones of Q6_K; bit
///                4 h + j of byte i is the third of value 32 j + i of half h.
///                The four low bits of s of group g are a half of byte g % 8,
///                the low one if g < 8; its high ones are pair g / 4 of byte
///                8 + g % 4.
///          Q2_K  16 bytes of a scale (low half) and an offset, 64 of pairs,
///                half d, half m: d s q - m o.
/// Source   as above.
struct GgmlExpandedType {
  GgmlType type;
  /// No value of the block is larger, whatever its sign; NaN or infinite where
  /// a scale is.
  float (*bound)(const std::byte* block);
  void (*expand)(const std::byte* block, float* values);
};

/// How `type` is told, or nullptr.
const GgmlAffineType* find_ggml_affine_type(GgmlType type);
const GgmlExpandedType* find_ggml_expanded_type(GgmlType type);

}  // namespace llamlx
