#pragma once

#include "cuda/decode/copy_once.h"
#include "cuda/decode/portions.h"
#include "cuda/not_earlier.h"

namespace llamlx::cuda {

/// A warp's part of all weights on its way through shared memory, in the order
/// in which it is wanted, across steps and layers. A piece has the next tiles.
/// When the warp has multiplied one, it asks for another in its place, whatever
/// step that is of: so as many as there is room for are there or on their way.
/// All lanes of the warp call its functions together.
template <typename Tile>
class WeightRing {
 public:
  static constexpr int kPieceTiles = decode_piece_tiles(Tile::kBytes);

  __device__ WeightRing(const DecodeArgs& args, const DecodeLayer* layers,
                        int warp, unsigned lane)
      : args_(args),
        layers_(layers),
        barriers_(args.memory.barriers + warp * args.pieces * kBarrierBytes),
        pieces_(args.memory.ring + warp * args.pieces * kPieceBytes),
        end_(not_earlier(pieces_ + args.pieces * kPieceBytes)),
        piece_(pieces_),
        barrier_(barriers_),
        warp_(warp),
        lane_(lane),
        block_place_(static_cast<int>(blockIdx.x)) {}

  /// Asks for the first pieces.
  __device__ void begin() {
    if (lane_ == 0) {
      for (int i = 0; i < args_.pieces; ++i) {
        make_barrier(barrier_at(barriers_ + i * kBarrierBytes), 1);
      }
      show_barriers();
    }
    for (int i = 0; i < args_.pieces; ++i) replace();
    parity_ = 0;  // none has come yet
  }
  /// Finds what comes after the product that is asked for, before there is
  /// need of it.
  __device__ void prepare() {
    if (next_.left == 0) next_ = next_run();
  }
  /// Brings some more near of what there is no room for yet: a little at a
  /// time, while the warp waits for x, so that x need not wait for it.
  __device__ void bring_near() {
    constexpr int kMost = 30 << 10;
    constexpr int kAtOnce = 3 << 10;
    const int bytes =
        smaller(smaller(run_.left * Tile::kBytes, kMost) - near_, kAtOnce);
    if (bytes <= 0) return;
    bring_bytes_near(run_.from + near_, bytes);
    near_ += bytes;
  }
  /// The next piece, when it has come.
  __device__ const unsigned char* wait() const {
    wait_at_barrier(barrier_at(barrier_), parity_);
    return shared_memory() + piece_;
  }
  /// It is no longer needed.
  __device__ void replace() {
    __syncwarp();
    ask();
    piece_ += kPieceBytes;
    barrier_ += kBarrierBytes;
    const bool is_last = piece_ == end_;
    piece_ = is_last ? pieces_ : piece_;
    barrier_ = is_last ? barriers_ : barrier_;
    parity_ ^= is_last ? 1 : 0;
  }

 private:
  static constexpr int kPieceBytes = kPieceTiles * Tile::kBytes;
  static constexpr int kBarrierBytes = sizeof(std::uint64_t);

  /// What is left of a warp's part of a product.
  struct Run {
    const unsigned char* from;
    int left;  // tiles
  };

  const DecodeArgs& args_;
  const DecodeLayer* layers_;
  // Bytes of shared memory: of the first barrier, which opens when its piece
  // has come, of the first piece, and of what comes after the last.
  int barriers_;
  int pieces_;
  int end_;
  // What is waited for next.
  int piece_;
  int barrier_;
  int parity_ = 0;
  int warp_;
  unsigned lane_;
  // What is asked for next.
  Run run_{};
  int near_ = 0;  // bytes of it, from its beginning on
  Run next_{};
  int product_ = 0;  // after that
  int block_place_;

  static __device__ std::uint64_t* barrier_at(int byte) {
    return reinterpret_cast<std::uint64_t*>(shared_memory() + byte);
  }

  /// The next piece to where one was.
  __device__ void ask() {
    if (run_.left == 0) {
      prepare();
      run_ = next_;
      next_.left = 0;
      near_ = 0;
      if (run_.left == 0) return;
    }
    const int tiles = smaller(run_.left, kPieceTiles);
    const int bytes = tiles * Tile::kBytes;
    copy_once(shared_memory() + piece_, run_.from, bytes, barrier_at(barrier_));
    run_.from += bytes;
    run_.left -= tiles;
    near_ = larger(near_ - bytes, 0);
  }

  /// This warp's part of the next product of which it has any; nothing is left
  /// of what comes after the last.
  __device__ Run next_run() {
    const int of_layers = kLayerProducts * args_.num_layers;
    const int count = of_layers + (args_.chooses ? 1 : 0);
    while (product_ < count) {
      const bool is_head = product_ == of_layers;
      const int kind = is_head ? kLayerProducts : product_ % kLayerProducts;
      const auto* weight =
          is_head ? args_.head
                  : layers_[product_ / kLayerProducts].weights[kind];
      ++product_;
      const int row_tiles = args_.shapes[kind].tiles;
      const auto portion = cut_portion(args_.cuts[kind], block_place_);
      const int tiles = portion.count * row_tiles;
      const int first = first_tile(tiles, warp_);
      const int left = first_tile(tiles, warp_ + 1) - first;
      if (left == 0) continue;
      const long long at =
          static_cast<long long>(portion.first) * row_tiles + first;
      return {weight + at * Tile::kBytes, left};
    }
    return {};
  }
};

}  // namespace llamlx::cuda
