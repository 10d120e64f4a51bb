#pragma once

#include "cuda/attention/few_rows.h"
#include "cuda/decode/divider.h"
#include "cuda/decode/short_bf16.h"
#include "cuda/matmul/packed_weight.h"
#include "cuda/segment.h"
#include "cuda/token/draw.h"

/// One token of one sequence by one kernel: what a pass of several kernels
/// does, by blocks that all run at the same time and pass numbers to each other
/// through memory (exchange.h).
///
/// Between kernels a GPU is idle for microseconds, which is as long as it takes
/// to read a small model's weight. Here each warp has a ring of shared memory
/// into which its part of all weights flows, in the order in which they will be
/// wanted, whatever it waits for meanwhile: up to 25 MB in all on an H200. What
/// comes after that goes into the second cache meanwhile.
///
/// A step is a product or the attention of a layer. Its rows are cut among the
/// blocks, and its columns among the warps of a block. Blocks wait for nothing
/// but the numbers that they need, and a number says itself whether it has been
/// written, so that passing one on costs one way into the L2 cache and back.

namespace llamlx::cuda {

inline constexpr int kDecodeLargestHead = 128;
/// Two warps for each of a multiprocessor's four schedulers: they have all
/// registers that a thread may have.
inline constexpr int kDecodeThreads = 256;
inline constexpr int kDecodeWarps = kDecodeThreads / 32;
/// Tiles of columns of x that a warp makes operands of at once: two octets of
/// columns a lane.
inline constexpr int kDecodeChunkTiles = 8;
/// Blocks of rows that a block adds up at once; of larger portions some after
/// others.
inline constexpr int kDecodeRoundBlocks = 16;
/// Queries of a key/value head that a block looks for, at most.
inline constexpr int kDecodeQueries = 8;

/// The products of a layer, and the one after all layers.
enum class Product : int { qkv, o, gate_up, down, head };
inline constexpr int kLayerProducts = 4;

/// What all products of a pass read: packed weights, or what was made of
/// bfloat16 (short_bf16.h), beside which x is as beside bfloat16.
struct DecodeFormat {
  PackedLayout layout;
  bool is_short = false;

  LLAMLX_HOST_DEVICE constexpr int tile_bytes() const {
    return is_short ? kShortTileBytes : cuda::tile_bytes(layout);
  }
};

/// What a layer has beside its weights; biases, q_norm and k_norm may be null.
struct alignas(16) DecodeLayer {
  const float* biases[kLayerProducts];
  const float* norms[2];  ///< before qkv, before gate_up
  const float* q_norm;
  const float* k_norm;
  long long window;
};

/// A product in every layer.
struct ProductShape {
  int row_blocks;  ///< of 16
  int tiles;       ///< of 64 columns
  int cols;
  int rows;
};

/// How its rows are cut among the blocks of threads (portions.h).
struct ProductCut {
  int each;  ///< blocks of rows that every block of threads has
  int more;  ///< blocks of threads that have one more
};
constexpr ProductCut cut_product(const ProductShape& shape, int blocks) {
  return {shape.row_blocks / blocks, shape.row_blocks % blocks};
}

/// What a warp asks for at once: segments of a weight's tiles, of blocks of
/// rows that follow each other.
struct alignas(16) DecodePiece {
  const unsigned char* from;  ///< the first segment
  std::int32_t row_bytes;     ///< from a segment to the next
  std::uint16_t segment_bytes;
  std::uint16_t segments;
};
/// A warp's pieces in the order in which it multiplies them.
struct DecodeList {
  int first;      ///< of all lists' pieces
  int of_layers;  ///< how many there are of layers
  int all;        ///< and with those of the head
};
/// Pieces of its list that a warp has in shared memory: as many may be read
/// after the last list.
inline constexpr unsigned kDecodeListed = 32;

/// How a layer's attention is cut into units, which are dealt out among the
/// blocks. A unit is a bundle and a split: a bundle is up to kDecodeQueries
/// queries of one key/value head, a split some of the positions.
struct AttentionCut {
  int group;    ///< queries of a key/value head
  int bundles;  ///< the first of each key/value head, then the second ones
  int splits;   ///< at most
  int share;    ///< of a bundle's quads of columns, that one of its units joins
  Divider by_kv_heads;
  Divider by_bundles;
  Divider by_quads;  ///< of a head

  LLAMLX_HOST_DEVICE constexpr int units() const { return bundles * splits; }
};
constexpr int decode_bundles(int num_heads, int num_kv_heads) {
  const int group = num_heads / num_kv_heads;
  return (group + kDecodeQueries - 1) / kDecodeQueries * num_kv_heads;
}
constexpr AttentionCut cut_attention(int num_heads, int num_kv_heads,
                                     int head_dim, int splits) {
  const int group = num_heads / num_kv_heads;
  const int queries = group < kDecodeQueries ? group : kDecodeQueries;
  const int bundles = decode_bundles(num_heads, num_kv_heads);
  const int quads = head_dim / 4;
  return {group,
          bundles,
          splits,
          (queries * quads + splits - 1) / splits,
          Divider(num_kv_heads),
          Divider(bundles),
          Divider(quads)};
}

/// The positions that a layer's splits look at: `length` of them each, from
/// `first` on; the last has what is left, and the new one among it.
struct DecodeSpan {
  int first;
  int length;
  int used;  ///< splits that have any
};
/// Of a token at `position`. A split is what warps look at in one go, so many
/// positions each, unless there are too few splits.
LLAMLX_HOST_DEVICE constexpr DecodeSpan decode_span(int position, int window,
                                                    int of_warp, int splits) {
  const int hidden = position + 1 - window;
  const int first = window > 0 && hidden > 0 ? hidden : 0;
  const int count = position + 1 - first;
  int length = kDecodeWarps * of_warp;
  if (count > splits * length) {
    const int least = (count + splits - 1) / splits;
    length = (least + of_warp - 1) / of_warp * of_warp;
  }
  return {first, length, (count + length - 1) / length};
}
/// Positions that a warp looks at together.
LLAMLX_HOST_DEVICE constexpr int decode_positions(int padded_dim) {
  return 2048 / padded_dim;
}

/// Memory in which blocks pass numbers on; zeros before the first pass. Nothing
/// else writes there.
struct DecodeExchange {
  float* residual;           ///< [hidden]: the stream before a layer
  float* middle;             ///< [hidden]: after its attention
  float* qkv;                ///< [(H + 2 Hkv) Dh]
  float* parts;              ///< [H, splits, attention_part_floats()]
  float* attended;           ///< [H Dh]
  float* hidden;             ///< [F]
  std::uint32_t* likeliest;  ///< [blocks, 4]
};

/// Pieces of a warp's ring, at most.
inline constexpr int kDecodeMostPieces = 16;

/// What warps sum up of a block of rows: [kDecodeWarps][kTileRows] floats, and
/// room by which those of two blocks of rows lie in different banks.
inline constexpr int kPartialFloats = (kDecodeWarps + 1) * kTileRows;
/// Blocks of rows that a round has room for, and two before them that nobody
/// reads: there a warp leaves what it has of the piece before its first one.
inline constexpr int kPartialBlocksBefore = 2;
inline constexpr int kPartialBlocks = kPartialBlocksBefore + kDecodeRoundBlocks;

/// How a block's shared memory is cut: where its parts begin. What all decoders
/// have in the same place needs no looking up.
struct DecodeMemory {
  // Squares and partial sums are there twice: of a round, and the one before.
  static constexpr int kSquares = 0;
  static constexpr int kLikeliest = kSquares + 2 * kDecodeWarps * 4;
  static constexpr int kPartials = kLikeliest + kDecodeWarps * 8;
  static constexpr int kLists =
      kPartials + 2 * kPartialBlocks * kPartialFloats * 4;
  static constexpr int kBarriers =
      kLists + kDecodeWarps * int{kDecodeListed * sizeof(DecodePiece)};
  static constexpr int kTurns =
      kBarriers + kDecodeWarps * kDecodeMostPieces * 8;
  /// x of a product, or what attention needs.
  static constexpr int kInput = kTurns + kDecodeLargestHead * 4;
  static_assert(kLists % 16 == 0 && kInput % 16 == 0);
  int layers;
  int spans;  ///< of each layer
  int ring;
  int bytes;  ///< of all
};

/// Kernels  decode_T of dense weights, T of f16, bf16; decode_affineB_gG_T with
///          B of 2, 3, 4, 5, 6, 8, G of 32, 64 and T of f16, bf16;
///          decode_nvfp4 and decode_mxfp8, whose T is bf16; decode_short_bf16.
///          All products have weights of this format; the table's may be
///          another, but nvfp4 and mxfp8 beside one of these alone.
/// Grid     decode_blocks(), which run together; blocks of kDecodeThreads.
///          From compute capability 9.0 on.
/// Shapes   columns are multiples of 4; the cache's type is T; head_dim is a
///          multiple of 8, up to kDecodeLargestHead. ids [1], or -1, which
///          stands for the table's last row. For the rest see BeginArgs,
///          ArgmaxArgs and AttentionFewArgs.
struct DecodeArgs {
  SegmentView segment;              ///< of length 1, and of row 0
  float turns[kDecodeLargestHead];  ///< [2][Dh / 2]: cos and sin, scaled
  const int* ids;
  Choice choice;
  /// How many passes there were before this one since the exchange was zeros,
  /// and how many of them chose a token.
  unsigned passes;
  unsigned choices;
  /// Or else the pass ends with the residual stream, in the exchange.
  bool chooses;

  // From here on the same in every pass.
  const DecodeLayer* layers;
  int num_layers;
  ProductShape shapes[kLayerProducts + 1];
  ProductCut cuts[kLayerProducts + 1];
  const DecodePiece* listed;  ///< of all lists
  const DecodeList* lists;    ///< [blocks][kDecodeWarps]
  const float* head_bias;
  const float* norm;
  float eps;
  DecodeExchange exchange;
  int pieces;  ///< of a warp's ring, two or more
  DecodeMemory memory;

  int vocab;
  const unsigned char* table;
  PackedLayout table_layout;
  int table_tiles;

  int num_heads;
  int num_kv_heads;
  int head_dim;
  AttentionCut attention;
  bool traditional;

  int* tokens;
  int* host_tokens;
};

/// How many blocks there are. Every one has rows of gate_up in every layer, by
/// which all stay within one layer of each other: numbers tell only whether
/// they are of this layer or of the one before.
constexpr int decode_blocks(const ProductShape& gate_up, int multiprocessors) {
  return gate_up.row_blocks < multiprocessors ? gate_up.row_blocks
                                              : multiprocessors;
}

/// Tiles that a warp asks for at once: a chunk, if that is not too large, or an
/// equal part of it.
LLAMLX_HOST_DEVICE constexpr int decode_piece_tiles(int tile_bytes) {
  constexpr int kMostBytes = 6656;
  int tiles = kDecodeChunkTiles;
  while (tiles > 1 && tiles * tile_bytes > kMostBytes) tiles /= 2;
  return tiles;
}

/// What x is held as beside a weight: two numbers for each of its elements.
LLAMLX_HOST_DEVICE constexpr int decode_operand_bytes(
    const PackedLayout& layout) {
  return layout.is_affine() ? 1 : 2;
}
/// Bytes of one plane of x: lanes that read 16 bytes of both hit all banks.
LLAMLX_HOST_DEVICE constexpr int decode_plane_bytes(
    const PackedLayout& layout) {
  return (kDecodeChunkTiles * decode_operand_bytes(layout) | 1) * kTileCols;
}
/// Columns of x that share a scale.
LLAMLX_HOST_DEVICE constexpr int decode_group(const PackedLayout& layout) {
  return layout.is_affine() ? layout.group : kTileCols;
}
/// Of a warp's chunk of x.
LLAMLX_HOST_DEVICE constexpr int decode_input_bytes(
    const PackedLayout& layout) {
  return 2 * decode_plane_bytes(layout) +
         kDecodeChunkTiles * (kTileCols / decode_group(layout)) * 8;
}

constexpr int decode_piece_bytes(const DecodeFormat& format) {
  return decode_piece_tiles(format.tile_bytes()) * format.tile_bytes();
}

/// What attention holds of a bundle of a group so large: queries, of which each
/// element has two numbers of 16 bits; the new key and value; of each warp what
/// it has summed up, and two numbers more.
LLAMLX_HOST_DEVICE constexpr int decode_attention_bytes(int head_dim,
                                                        int group) {
  const int dim = attention_padded_dim(head_dim);
  const int queries = group < kDecodeQueries ? group : kDecodeQueries;
  return queries * attention_few_stride(dim) * 4 + 2 * dim * 2 +
         kDecodeWarps * queries * (dim + 2) * 4;
}

constexpr int decode_largest_input(const PackedLayout& layout,
                                   const DecodeArgs& args) {
  const int products = kDecodeWarps * decode_input_bytes(layout);
  const int attention =
      decode_attention_bytes(args.head_dim, args.num_heads / args.num_kv_heads);
  return products > attention ? products : attention;
}

constexpr DecodeMemory decode_memory(const DecodeFormat& format,
                                     const DecodeArgs& args) {
  DecodeMemory memory{};
  memory.bytes = DecodeMemory::kInput;
  const auto take = [&](int bytes) {
    const int begin = memory.bytes;
    memory.bytes += (bytes + 127) / 128 * 128;
    return begin;
  };
  take(decode_largest_input(format.layout, args));
  memory.layers = take(args.num_layers * int{sizeof(DecodeLayer)});
  memory.spans = take(args.num_layers * int{sizeof(DecodeSpan)});
  memory.ring = take(kDecodeWarps * args.pieces * decode_piece_bytes(format));
  return memory;
}

/// Sets what follows from shapes, heads and so many blocks: `cuts`,
/// `attention`, `pieces` and `memory`: as many pieces as fit into so much.
/// Whether any does.
constexpr bool fit_decode_memory(const DecodeFormat& format, DecodeArgs& args,
                                 int blocks, int shared_bytes) {
  for (int i = 0; i <= kLayerProducts; ++i) {
    args.cuts[i] = cut_product(args.shapes[i], blocks);
  }
  const int splits = attention_few_splits(
      decode_bundles(args.num_heads, args.num_kv_heads), blocks);
  args.attention =
      cut_attention(args.num_heads, args.num_kv_heads, args.head_dim, splits);
  for (args.pieces = kDecodeMostPieces; args.pieces > 1; --args.pieces) {
    args.memory = decode_memory(format, args);
    if (args.memory.bytes <= shared_bytes) return true;
  }
  return false;
}

}  // namespace llamlx::cuda
