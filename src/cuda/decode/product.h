#pragma once

#include "cuda/decode/code_tiles.h"
#include "cuda/decode/portions.h"
#include "cuda/decode/warps.h"
#include "cuda/decode/weight_ring.h"
#include "cuda/token/largest_value.h"

namespace llamlx::cuda {

/// What becomes of the sums of a product.
enum class SumsUse { add, gate, choose };

struct ProductTarget {
  SumsUse use;
  float* out;  ///< null where tokens are chosen by them
  Mark mark;
  const float* bias;    ///< [rows], or null
  const float* addend;  ///< [rows], or null
  Mark addend_mark;
};

/// The products of a block, one after another. A warp has some columns of all
/// of the block's rows: it waits for these columns of x alone, and the warps
/// meet when what they have is to be added up.
template <typename Tile>
class Products {
 public:
  __device__ explicit Products(const DecodeArgs& args)
      : args_(args),
        warp_(warp_now()),
        lane_(lane_now()),
        place_(static_cast<int>(blockIdx.x)),
        ring_(args, warp_, lane_) {}

  /// Asks for what tells where weights lie.
  __device__ void prepare() const { ring_.ask_list(); }
  /// Asks for the first weights, when that has come.
  __device__ void begin() { ring_.begin(); }

  /// Of this block's rows. Calls meanwhile() when x has been looked for.
  template <typename Do>
  __device__ void run(Product product, const ProductInput& input,
                      const ProductTarget& target, const Do& meanwhile) {
    const ProductShape shape = args_.shapes[static_cast<int>(product)];
    Rounds rounds(cut_portion(args_.cuts[static_cast<int>(product)],
                              static_cast<int>(gridDim.x), place_));
    const Columns columns(shape.tiles, warp_);
    auto likeliest = no_value();
    InputMaker<Tile> maker(input, shape.cols, space(), lane_);
    bool has_x = false;
#pragma unroll 1
    for (bool is_first = true; rounds.left > 0; is_first = false) {
      const auto round = rounds.next();
      const Rows rows{round.first * kTileRows, round.count * kTileRows,
                      shape.rows};
      // Before x: what is asked for later comes later.
      const auto extra = ask_extra(rows, target, thread());
      if (!has_x) {
        maker = InputMaker<Tile>(input, shape.cols, space(), lane_);
        if (columns.count() > 0) ask_chunk(maker, columns, columns.first);
      }
      if (is_first) meanwhile();
      multiply(round.count, columns, maker, has_x);
      if (lane_ == 0) squares()[warp_] = maker.sum_of_squares();
      __syncthreads();
      finish(rows, target, norm_factor(input, shape), extra, likeliest);
      turn_ ^= 1;
      // There is room for one chunk.
      has_x = columns.count() <= kDecodeChunkTiles;
    }
    if (target.use == SumsUse::choose) choose(likeliest);
  }

 private:
  static constexpr int kPieceTiles = WeightRing<Tile>::kPieceTiles;

  const DecodeArgs& args_;
  int warp_;
  unsigned lane_;
  int place_;
  WeightRing<Tile> ring_;
  /// Which half of what warps leave for each other is this round's: some may
  /// still add up the last one's.
  int turn_ = 0;

  __device__ int thread() const {
    return warp_ * kWarpSize + static_cast<int>(lane_);
  }
  template <typename T>
  __device__ static T* at(int byte) {
    return reinterpret_cast<T*>(shared_memory() + byte);
  }
  /// What warps have of the sum of x's squares.
  __device__ float* squares() const {
    return at<float>(DecodeMemory::kSquares) + turn_ * kDecodeWarps;
  }
  /// What a warp has of the rows of a block of them.
  __device__ float* partial(int row_block, int warp) const {
    return at<float>(DecodeMemory::kPartials) +
           (turn_ * kPartialBlocks + kPartialBlocksBefore + row_block) *
               kPartialFloats +
           warp * kTileRows;
  }
  /// This warp's chunk of x.
  __device__ InputSpace<Tile> space() const {
    return InputSpace<Tile>(at<unsigned char>(DecodeMemory::kInput) +
                            warp_ * decode_input_bytes(Tile::layout()));
  }
  __device__ LaneOfInput<Tile> input() const { return {space(), lane_}; }

  /// Of the chunk that begins with a tile.
  __device__ static int chunk_tiles(const Columns& columns, int tile) {
    return smaller(columns.end - tile, kDecodeChunkTiles);
  }
  __device__ static void ask_chunk(InputMaker<Tile>& maker,
                                   const Columns& columns, int tile) {
    maker.ask(tile, chunk_tiles(columns, tile));
  }

  /// A round's, of a product's.
  struct Rows {
    int first;
    int count;
    int all;

    __device__ bool has(int i) const { return i < count && first + i < all; }
  };

  /// What is added to the sum of a row, asked for before it is needed.
  struct Extra {
    float bias = 0;
    std::uint32_t addend = 0;  // if it has come
  };
  __device__ static Extra ask_extra(const Rows& rows,
                                    const ProductTarget& target, int i) {
    Extra extra;
    if (!rows.has(i)) return extra;
    const int row = rows.first + i;
    if (target.bias != nullptr) extra.bias = target.bias[row];
    if (target.addend != nullptr) {
      extra.addend = load_shared_word(
          reinterpret_cast<const std::uint32_t*>(target.addend + row));
    }
    return extra;
  }
  __device__ static float wait_extra(const Extra& extra,
                                     const ProductTarget& target, int row) {
    if (target.addend == nullptr) return extra.bias;
    if (has_mark(extra.addend, target.addend_mark)) {
      return extra.bias + __uint_as_float(extra.addend);
    }
    return extra.bias + await(target.addend + row, target.addend_mark);
  }

  /// Of a round, by all threads.
  __device__ void finish(const Rows& rows, const ProductTarget& target,
                         float factor, const Extra& extra,
                         LargestValue& likeliest) const {
    if (target.use == SumsUse::gate) {
      gate(rows, target, factor);
    } else {
      add(rows, target, factor, extra, likeliest);
    }
  }
  /// A round has no more rows than there are threads.
  static_assert(kDecodeRoundBlocks * kTileRows <= kDecodeThreads);
  __device__ void add(const Rows& rows, const ProductTarget& target,
                      float factor, const Extra& extra,
                      LargestValue& likeliest) const {
    const int i = thread();
    if (!rows.has(i)) return;
    const int row = rows.first + i;
    const float value = sum(i) * factor + wait_extra(extra, target, row);
    if (target.use == SumsUse::choose) {
      likeliest =
          larger(likeliest, seen_value(args_.choice.draw, value, row, 0));
    } else {
      publish(target.out + row, value, target.mark);
    }
  }

  /// The first thread publishes the block's likeliest token.
  __device__ void choose(LargestValue mine) const {
    mine = largest_of_block(mine, at<unsigned char>(DecodeMemory::kLikeliest),
                            kDecodeThreads);
    if (thread() != 0) return;
    publish(args_.exchange.likeliest + 4 * blockIdx.x, mine,
            mark_of(args_.choices));
  }

  /// silu(gate) * up of an interleaved weight's pairs of rows.
  __device__ void gate(const Rows& rows, const ProductTarget& target,
                       float factor) const {
    constexpr int kPairs = kTileRows / 2;
    const int i = thread();
    if (!rows.has(2 * i)) return;
    const int row = i / kPairs * kTileRows + i % kPairs;
    float values[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int its = row + half * kPairs;
      values[half] = sum(its) * factor;
      if (target.bias != nullptr) values[half] += target.bias[rows.first + its];
    }
    publish(target.out + rows.first / 2 + i, silu(values[0]) * values[1],
            target.mark);
  }

  /// Leaves what this warp has of so many blocks of rows.
  __device__ void multiply(int rows, const Columns& columns,
                           InputMaker<Tile>& maker, bool has_x) {
    if (columns.count() == 0) return leave_nothing(rows);
#pragma unroll 1
    for (int tile = columns.first; tile < columns.end;) {
      if (!has_x) {
        maker.put([&] { ring_.bring_near(); });
        __syncwarp();
      }
      const int tiles = chunk_tiles(columns, tile);
      const bool is_first = tile == columns.first;
      tile += tiles;
      if (tile < columns.end) ask_chunk(maker, columns, tile);
      multiply_chunk(rows, tiles, is_first);
      __syncwarp();
    }
  }
  __device__ void leave_nothing(int row_blocks) const {
    for (int i = 0; i < row_blocks; ++i) {
      if (lane_ < kTileRows) partial(i, warp_)[lane_] = 0;
    }
  }

  /// Of so many tiles of columns and all blocks of rows.
  __device__ void multiply_chunk(int rows, int tiles, bool is_first) {
#pragma unroll 1
    for (int part = 0; part < tiles; part += kPieceTiles) {
      multiply_columns(rows, input().at(part),
                       smaller(tiles - part, kPieceTiles),
                       is_first && part == 0);
    }
  }
  __device__ void multiply_columns(int rows, const LaneOfInput<Tile>& input,
                                   int tiles, bool is_first) {
    if (tiles == kPieceTiles) return multiply_pieces<1>(rows, input, is_first);
    if constexpr (kPieceTiles == kDecodeChunkTiles) {
      if (tiles == kPieceTiles / 2) {
        return multiply_pieces<2>(rows, input, is_first);
      }
    }
    multiply_rows(rows, input, tiles, is_first);
  }

  /// As most: a piece has kRows blocks of rows, and is full of them. What one
  /// made is added up beside the next.
  template <int kRows>
  __device__ void multiply_pieces(int rows, const LaneOfInput<Tile>& input,
                                  bool is_first) {
    constexpr int kTiles = kPieceTiles / kRows;
    const InputTiles<Tile, kTiles> x(input, lane_);
    float before[kRows][2] = {};
    int row = 0;
#pragma unroll 1
    for (; row < rows; row += kRows) {
      const auto* tiles = ring_.wait();
      LoadedTiles<Tile, kTiles> loaded[kRows];
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        loaded[i].load(tiles + i * kTiles * Tile::kBytes, lane_);
      }
      // While they are on their way.
      ring_.replace();
      float sums[kRows];
      float acc[kRows][2] = {};
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        sums[i] = sum_of_row(input, lane_, before[i]);
        x.multiply(loaded[i], acc[i]);
      }
      // Of the piece before, if there was one.
      leave<kRows>(row - kRows, sums, is_first);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        for (int j = 0; j < 2; ++j) before[i][j] = acc[i][j];
      }
    }
    float sums[kRows];
    for (int i = 0; i < kRows; ++i) {
      sums[i] = sum_of_row(input, lane_, before[i]);
    }
    leave<kRows>(row - kRows, sums, is_first);
  }
  /// A piece has as many blocks of rows as there is room for.
  __device__ void multiply_rows(int rows, const LaneOfInput<Tile>& input,
                                int tiles, bool is_first) {
    const int together = rows_together(kPieceTiles, tiles);
#pragma unroll 1
    for (int first = 0; first < rows; first += together) {
      const auto* from = ring_.wait();
      ring_.replace();
#pragma unroll 1
      for (int row = first; row < smaller(first + together, rows); ++row) {
        float acc[2] = {0, 0};
        multiply_tiles(from, input, tiles, lane_, acc);
        const float sums[1] = {sum_of_row(input, lane_, acc)};
        leave<1>(row, sums, is_first);
        from += tiles * Tile::kBytes;
      }
    }
  }

  /// Leaves the sums of kRows blocks of rows, beside those of the chunks
  /// before.
  template <int kRows>
  __device__ void leave(int row, const float (&sums)[kRows],
                        bool is_first) const {
    if (lane_ % 4 >= 2) return;
    auto* to = partial(row, warp_) + lane_ / 4 + lane_ % 2 * 8;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      auto& its = to[i * kPartialFloats];
      its = is_first ? sums[i] : its + sums[i];
    }
  }
  /// Of a row of the round.
  __device__ float sum(int row) const {
    const auto* its = partial(row / kTileRows, 0) + row % kTileRows;
    float value = 0;
#pragma unroll
    for (int warp = 0; warp < kDecodeWarps; ++warp) {
      value += its[warp * kTileRows];
    }
    return value;
  }

  __device__ float norm_factor(const ProductInput& input,
                               const ProductShape& shape) const {
    if (input.norm == nullptr) return 1;
    static_assert(kDecodeWarps == 8);
    const auto* its = reinterpret_cast<const Floats4*>(squares());
    const auto low = its[0];
    const auto high = its[1];
    float sums[4];
    for (int i = 0; i < 4; ++i) sums[i] = low.f[i] + high.f[i];
    const float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    return rsqrtf(__fdividef(sum, static_cast<float>(shape.cols)) + args_.eps);
  }
};

}  // namespace llamlx::cuda
