#include "cuda/intrinsics.h"
#include "cuda/matmul/pack.h"

namespace llamlx::cuda {
namespace {

/// A tile of the packed weights.
struct TilePlace {
  int expert;
  int first_row;  // of those of the expert
  int first_col;
};

/// Where a row of the packed weight comes from; null: from nowhere.
struct SourceRow {
  const PlainWeight* source;
  long long row;
};

__device__ SourceRow row_of(const PlainWeight& source, int expert, int row) {
  return {&source, static_cast<long long>(expert) * source.rows + row};
}

__device__ SourceRow find_row(const PackArgs& args, const TilePlace& place,
                              int row_in_tile) {
  int row = place.first_row + row_in_tile;
  if (args.interleaved != 0) {
    const auto& source = args.sources[row % kTileRows / 8];
    const int its_row = row / kTileRows * 8 + row % 8;
    if (its_row >= source.rows) return {nullptr, 0};
    return row_of(source, place.expert, its_row);
  }
  for (int i = 0; i < args.num_sources; ++i) {
    const auto& source = args.sources[i];
    if (row < source.rows) return row_of(source, place.expert, row);
    row -= source.rows;
  }
  return {nullptr, 0};
}

__device__ std::uint32_t read_code(const PackArgs& args, const SourceRow& from,
                                   int col) {
  const int bits = args.layout.bits;
  const auto* words = static_cast<const std::uint32_t*>(from.source->data) +
                      from.row * args.cols * bits / 32;
  const int first = col * bits;
  const int shift = first % 32;
  std::uint32_t code = words[first / 32] >> shift;
  if (shift + bits > 32) code |= words[first / 32 + 1] << (32 - shift);
  return code & ((1U << bits) - 1U);
}

__device__ void pack_dense(const PackArgs& args, unsigned char* tile,
                           const TilePlace& place, int lane) {
  const int size = number_bytes(args.layout.type);
  for (int half = 0; half < 2; ++half) {
    const int row = lane / 4 + 8 * half;
    const auto from = find_row(args, place, row);
    for (int i = 0; i < 16; ++i) {
      const int col = i / 8 * 32 + lane % 4 * 8 + i % 8;
      auto* to = tile + PlaceInTile(row, col).dense_byte(size);
      const bool is_there =
          from.source != nullptr && place.first_col + col < args.cols;
      const auto at = from.row * args.cols + place.first_col + col;
      if (size == 4) {
        *reinterpret_cast<float*>(to) =
            is_there ? static_cast<const float*>(from.source->data)[at] : 0;
      } else {
        *reinterpret_cast<std::uint16_t*>(to) =
            is_there ? static_cast<const std::uint16_t*>(from.source->data)[at]
                     : std::uint16_t{0};
      }
    }
  }
}

__device__ void or_bits(unsigned char* word, std::uint32_t bits) {
  *reinterpret_cast<std::uint32_t*>(word) |= bits;
}

__device__ void pack_codes(const PackArgs& args, unsigned char* tile,
                           const TilePlace& tile_place, int lane) {
  const int low = low_bits(args.layout.bits);
  const int high = high_bits(args.layout.bits);
  auto* high_plane = tile + plane_bytes(low);
  for (int half = 0; half < 2; ++half) {
    const int row = lane / 4 + 8 * half;
    const auto from = find_row(args, tile_place, row);
    for (int i = 0; i < 16; ++i) {
      const int col = i / 8 * 32 + lane % 4 * 8 + i % 8;
      const int its_col = tile_place.first_col + col;
      if (from.source == nullptr || its_col >= args.cols) continue;
      const PlaceInTile place(row, col);
      const auto code = read_code(args, from, its_col);
      or_bits(tile + place.low_word_byte(low), (code & ((1U << low) - 1U))
                                                   << place.low_bit(low));
      if (high == 0) continue;
      or_bits(high_plane + place.high_word_byte(high),
              (code >> low) << place.high_bit(high));
    }
  }
}

/// Copies a scale or bias of whatever type.
__device__ void copy_number(const void* from, long long at, int size,
                            unsigned char* to) {
  if (size == 4) {
    *reinterpret_cast<float*>(to) = static_cast<const float*>(from)[at];
  } else {
    *reinterpret_cast<std::uint16_t*>(to) =
        static_cast<const std::uint16_t*>(from)[at];
  }
}

__device__ void pack_scales(const PackArgs& args, unsigned char* tile,
                            const TilePlace& place, int row) {
  const auto& layout = args.layout;
  const int size = number_bytes(layout.type);
  const auto from = find_row(args, place, row);
  if (from.source == nullptr) return;
  for (int group = 0; group < kTileCols / layout.group; ++group) {
    const int col = place.first_col + group * layout.group;
    if (col >= args.cols) return;
    const auto at = from.row * (args.cols / args.group) + col / args.group;
    if (layout.has_floats) {
      tile[float_scale_byte(layout, row, group)] =
          static_cast<const unsigned char*>(from.source->scales)[at];
      continue;
    }
    auto* to = tile + scale_byte(layout, row, group);
    copy_number(from.source->scales, at, size, to);
    copy_number(from.source->biases, at, size, to + size);
  }
}

}  // namespace

/// `out` holds zeros before.
LLAMLX_KERNEL(pack_weight, PackArgs, 256, 1) {
  const long long thread =
      static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const long long at = thread / kWarpSize;
  const int lane = static_cast<int>(thread % kWarpSize);
  const auto blocks = static_cast<long long>(args.experts) * args.row_blocks;
  if (at >= blocks * args.tiles) return;
  auto* tile = args.out + at * tile_bytes(args.layout);
  const int block = static_cast<int>(at / args.tiles);
  const TilePlace place = {block / args.row_blocks,
                           block % args.row_blocks * kTileRows,
                           static_cast<int>(at % args.tiles) * kTileCols};
  if (args.layout.bits == 0) return pack_dense(args, tile, place, lane);
  pack_codes(args, tile, place, lane);
  if (lane < kTileRows) pack_scales(args, tile, place, lane);
}

}  // namespace llamlx::cuda
