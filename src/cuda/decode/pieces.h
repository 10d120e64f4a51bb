#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "cuda/decode/portions.h"

// What each warp asks for of all weights, listed before the first pass: to find
// what comes next takes a warp as long as to multiply it.
namespace llamlx::cuda {

/// Where a layer's weights lie, in the order of Product.
using LayerWeights = std::array<const unsigned char*, kLayerProducts>;

struct PieceLists {
  std::vector<DecodePiece> pieces;  ///< of one warp after another
  std::vector<DecodeList> lists;    ///< [blocks][kDecodeWarps]
};

namespace decode_detail {

/// Adds a warp's pieces of a weight: some columns of all of a round's blocks of
/// rows, then the next ones. Of a block of rows that is a segment; several lie
/// in a piece if they are small.
inline void add_pieces(const DecodeFormat& format, const unsigned char* weight,
                       int row_tiles, const Portion& portion,
                       const Columns& columns,
                       std::vector<DecodePiece>& pieces) {
  const int tile_bytes = format.tile_bytes();
  const int most = decode_piece_tiles(tile_bytes);
  for (Rounds rounds(portion); rounds.left > 0;) {
    const auto round = rounds.next();
    for (int tile = columns.first; tile < columns.end; tile += most) {
      const int tiles = std::min(columns.end - tile, most);
      const int together = rows_together(most, tiles);
      for (int row = 0; row < round.count; row += together) {
        const long long first =
            static_cast<long long>(round.first + row) * row_tiles + tile;
        pieces.push_back({weight + first * tile_bytes, row_tiles * tile_bytes,
                          static_cast<std::uint16_t>(tiles * tile_bytes),
                          static_cast<std::uint16_t>(
                              std::min(together, round.count - row))});
      }
    }
  }
}

}  // namespace decode_detail

/// Of args it looks at shapes and cuts.
inline PieceLists list_pieces(const DecodeFormat& format,
                              const DecodeArgs& args, int blocks,
                              std::span<const LayerWeights> layers,
                              const unsigned char* head) {
  PieceLists result;
  auto& pieces = result.pieces;
  const auto count = [&] { return static_cast<int>(pieces.size()); };
  for (int i = 0; i < blocks * kDecodeWarps; ++i) {
    const int warp = i % kDecodeWarps;
    int place = i / kDecodeWarps;
    const auto add = [&](int product, const unsigned char* weight) {
      const int row_tiles = args.shapes[product].tiles;
      decode_detail::add_pieces(format, weight, row_tiles,
                                cut_portion(args.cuts[product], blocks, place),
                                Columns(row_tiles, warp), pieces);
    };
    DecodeList list{count(), 0, 0};
    for (const auto& layer : layers) {
      for (int product = 0; product < kLayerProducts; ++product) {
        add(product, layer[static_cast<std::size_t>(product)]);
      }
    }
    list.of_layers = count() - list.first;
    add(kLayerProducts, head);
    list.all = count() - list.first;
    result.lists.push_back(list);
  }
  pieces.resize(pieces.size() + kDecodeListed);
  return result;
}

}  // namespace llamlx::cuda
