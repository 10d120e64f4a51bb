#pragma once

#include "cuda/decode/code_tiles.h"
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

/// The products of a block, one after another.
template <typename Tile>
class Products {
 public:
  __device__ Products(const DecodeArgs& args, const DecodeLayer* layers)
      : args_(args),
        warp_(warp_now()),
        lane_(lane_now()),
        place_(static_cast<int>(blockIdx.x)),
        ring_(args, layers, warp_, lane_) {}

  /// Asks for the first weights.
  __device__ void begin() { ring_.begin(); }

  /// Of this block's rows.
  __device__ void run(Product product, const ProductInput& input,
                      const ProductTarget& target) {
    const ProductShape shape = args_.shapes[static_cast<int>(product)];
    const auto& cut = args_.cuts[static_cast<int>(product)];
    const auto portion = cut_portion(cut, place_);
    if (portion.count == 0) {
      if (target.use == SumsUse::choose) choose(no_value());
      return;
    }
    // All that can be known before x has come.
    ring_.prepare();
    const bool is_gated = target.use == SumsUse::gate;
    const int row = is_gated ? thread_now() * 2 : thread_now();
    const Share share(portion, shape, cut, warp_, row / kTileRows);
    const auto extra = ask_extra(share, target, thread_now());
    const float factor = multiply(share, input);
    if (is_gated) return gate(share, target, factor);
    add(share, target, factor, extra);
  }

 private:
  const DecodeArgs& args_;
  int warp_;
  unsigned lane_;
  int place_;
  WeightRing<Tile> ring_;

  template <typename T>
  __device__ static T* at(int byte) {
    return reinterpret_cast<T*>(shared_memory() + byte);
  }
  /// What warps have of the sum of x's squares: all threads read them between
  /// the barriers of multiply().
  __device__ float* squares() const { return at<float>(args_.memory.squares); }

  /// What is this warp's and this thread's of the block's rows.
  struct Share {
    Portion portion;
    ProductShape shape;
    Divider by_tiles;  // of the portion
    int tiles;
    int first;       // of this warp's tiles
    int count;       // of them
    int row_block;   // of the first
    int col;         // of the first
    int first_warp;  // that has tiles of this thread's first row
    int last_warp;

    __device__ Share(const Portion& its, const ProductShape& its_shape,
                     const ProductCut& cut, int warp, int row_block_of_thread)
        : portion(its),
          shape(its_shape),
          by_tiles(cut.by_portion[its.count - cut.each]),
          tiles(its.count * its_shape.tiles),
          first(first_tile(tiles, warp)),
          count(first_tile(tiles, warp + 1) - first),
          row_block(cut.by_tiles.divide(first)),
          col(first - row_block * its_shape.tiles),
          first_warp(first_warp_of(row_block_of_thread)),
          last_warp(last_warp_of(row_block_of_thread)) {}

    __device__ int rows() const { return portion.count * kTileRows; }
    __device__ int first_row() const { return portion.first * kTileRows; }
    __device__ int first_warp_of(int its_row_block) const {
      return warp_of_tile(by_tiles, its_row_block * shape.tiles);
    }
    __device__ int last_warp_of(int its_row_block) const {
      return warp_of_tile(by_tiles, (its_row_block + 1) * shape.tiles - 1);
    }
  };

  /// What is added to the sum of a row, asked for before it is needed.
  struct Extra {
    float bias = 0;
    std::uint32_t addend = 0;  // if it has come
  };
  __device__ static Extra ask_extra(const Share& share,
                                    const ProductTarget& target, int i) {
    Extra extra;
    const int row = share.first_row() + i;
    if (i >= share.rows() || row >= share.shape.rows) return extra;
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

  __device__ void add(const Share& share, const ProductTarget& target,
                      float factor, Extra extra) const {
    auto likeliest = no_value();
    int first_warp = share.first_warp;
    int last_warp = share.last_warp;
#pragma unroll 1
    for (int i = thread_now(); i < share.rows();) {
      const int row = share.first_row() + i;
      if (row >= share.shape.rows) break;
      const float value = sum(i, first_warp, last_warp) * factor +
                          wait_extra(extra, target, row);
      if (target.use == SumsUse::choose) {
        likeliest =
            larger(likeliest, seen_value(args_.choice.draw, value, row, 0));
      } else {
        publish(target.out + row, value, target.mark);
      }
      i += kDecodeThreads;
      if (i >= share.rows()) break;
      extra = ask_extra(share, target, i);
      first_warp = share.first_warp_of(i / kTileRows);
      last_warp = share.last_warp_of(i / kTileRows);
    }
    if (target.use == SumsUse::choose) choose(likeliest);
  }

  /// The first thread publishes the block's likeliest token.
  __device__ void choose(LargestValue mine) const {
    mine = largest_of_block(mine, at<unsigned char>(args_.memory.likeliest),
                            kDecodeThreads);
    if (threadIdx.x != 0) return;
    publish(args_.exchange.likeliest + 4 * blockIdx.x, mine,
            mark_of(args_.choices));
  }

  /// silu(gate) * up of an interleaved weight's pairs of rows.
  __device__ void gate(const Share& share, const ProductTarget& target,
                       float factor) const {
    constexpr int kPairs = kTileRows / 2;
    int first_warp = share.first_warp;
    int last_warp = share.last_warp;
#pragma unroll 1
    for (int i = thread_now(); i < share.portion.count * kPairs;) {
      const int place = share.portion.first * kPairs + i;
      if (2 * place >= share.shape.rows) break;
      const int row = i / kPairs * kTileRows + i % kPairs;
      float values[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int its = row + half * kPairs;
        values[half] = sum(its, first_warp, last_warp) * factor;
        if (target.bias != nullptr) {
          values[half] += target.bias[share.first_row() + its];
        }
      }
      publish(target.out + place, silu(values[0]) * values[1], target.mark);
      i += kDecodeThreads;
      if (i >= share.portion.count * kPairs) break;
      first_warp = share.first_warp_of(i / kPairs);
      last_warp = share.last_warp_of(i / kPairs);
    }
  }

  /// Leaves what each warp has of the block's rows; what sums are multiplied
  /// by.
  __device__ float multiply(const Share& share, const ProductInput& input) {
    const InputSpace<Tile> space(at<unsigned char>(args_.memory.input),
                                 squares(), share.shape.tiles);
    InputMaker<Tile>(input, share.shape, space).run([&] {
      ring_.bring_near();
    });
    __syncthreads();
    const float factor = norm_factor(input, share.shape);
    multiply_run(share, LaneOfInput<Tile>(space, lane_));
    __syncthreads();
    return factor;
  }

  /// This warp's tiles of the portion.
  __device__ void multiply_run(const Share& share,
                               const LaneOfInput<Tile>& input) {
    constexpr int kPieceTiles = WeightRing<Tile>::kPieceTiles;
    auto* to = partial(share.row_block, warp_);
    int col = share.col;
    float acc[2] = {0, 0};
#pragma unroll 1
    for (int left = share.count; left > 0; left -= kPieceTiles) {
      const auto* tiles = ring_.wait();
      if (left >= kPieceTiles && col + kPieceTiles <= share.shape.tiles) {
        // As most pieces: of one block of rows.
        multiply_piece(tiles, input.at(col), lane_, acc);
        col += kPieceTiles;
        if (col == share.shape.tiles) keep(to, col, input, acc);
      } else {
        multiply_rows(tiles, smaller(left, kPieceTiles), input,
                      share.shape.tiles, to, col, acc);
      }
      ring_.replace();
    }
    // Of very few tiles some warps have none: zeros.
    if (col > 0) keep(to, col, input, acc);
  }

  /// Some tiles, from `col` of a block of rows on, whose sums go to `to`.
  __device__ void multiply_rows(const unsigned char* tiles, int count,
                                const LaneOfInput<Tile>& input, int row_tiles,
                                float*& to, int& col, float (&acc)[2]) const {
#pragma unroll 1
    while (count > 0) {
      const int together = smaller(count, row_tiles - col);
      multiply_tiles(tiles, input.at(col), together, lane_, acc);
      tiles += together * Tile::kBytes;
      count -= together;
      col += together;
      if (col == row_tiles) keep(to, col, input, acc);
    }
  }

  /// What warps have of blocks of rows lies in the order in which warps come to
  /// them: each next one is of the next warp, or of the next block, or of both.
  __device__ float* partial(int row_block, int warp) const {
    return at<float>(args_.memory.partials) + (row_block + warp) * kTileRows;
  }
  /// Leaves the sums of a block of rows, and begins those of the next.
  __device__ void keep(float*& to, int& col, const LaneOfInput<Tile>& input,
                       float (&acc)[2]) const {
    for (auto& x : acc) x = sum_of_lanes(input, x);
    if (lane_ % 4 == 0) {
      to[lane_ / 4] = acc[0];
      to[lane_ / 4 + 8] = acc[1];
    }
    acc[0] = acc[1] = 0;
    to += kTileRows;
    col = 0;
  }

  /// Of a row of the portion, which these warps have tiles of.
  __device__ float sum(int row, int first_warp, int last_warp) const {
    const int row_block = row / kTileRows;
    // All are read at once; those of other warps may be anything.
    float value = 0;
#pragma unroll
    for (int warp = 0; warp < kDecodeWarps; ++warp) {
      const float its = partial(row_block, warp)[row % kTileRows];
      if (warp >= first_warp && warp <= last_warp) value += its;
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
