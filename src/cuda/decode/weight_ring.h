#pragma once

#include "cuda/decode/copy_once.h"
#include "cuda/decode/portions.h"
#include "cuda/not_earlier.h"

namespace llamlx::cuda {

/// A warp's part of all weights on its way through shared memory, in the order
/// in which it is wanted, across steps and layers. A piece has the next
/// segment, or as many as it has room for (PortionWalk). When the warp has
/// multiplied one, it asks for another in its place, whatever step that is of:
/// so as many as there is room for are there or on their way. All lanes of the
/// warp call its functions together.
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
    if (next_.is_over()) next_ = next_walk();
  }
  /// Brings some more near of what there is no room for yet: a little at a
  /// time, while the warp waits for x, so that x need not wait for it.
  __device__ void bring_near() {
    constexpr int kMost = (30 << 10) / kPieceBytes;
    if (near_ >= smaller(walk_.left(), kMost)) return;
    bring_bytes_near(segment(near_), walk_.segment_bytes());
    ++near_;
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

  using Walk = PortionWalk<kPieceTiles>;

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
  Walk walk_;
  int near_ = 0;  // segments from there on that are near
  Walk next_;
  // After that: blocks of rows of a product's rounds, and the next product.
  Rounds rounds_;
  const unsigned char* weight_ = nullptr;
  int row_tiles_ = 0;
  int product_ = 0;
  int block_place_;

  static __device__ std::uint64_t* barrier_at(int byte) {
    return reinterpret_cast<std::uint64_t*>(shared_memory() + byte);
  }

  /// Segments of the same columns.
  __device__ const unsigned char* segment(int i) const {
    return walk_.from() + static_cast<long long>(i) * walk_.row_bytes();
  }

  /// The next piece to where one was.
  __device__ void ask() {
    if (walk_.is_over()) {
      prepare();
      walk_ = next_;
      next_ = Walk();
      near_ = 0;
      if (walk_.is_over()) return;
    }
    const int count = walk_.together();
    const int bytes = walk_.segment_bytes();
    auto* to = shared_memory() + piece_;
    auto* barrier = barrier_at(barrier_);
    copy_once(to, segment(0), bytes, barrier, count * bytes);
#pragma unroll 1
    for (int i = 1; i < count; ++i) {
      copy_more(to + i * bytes, segment(i), bytes, barrier);
    }
    walk_.pass();
    near_ = larger(near_ - count, 0);
  }

  /// This warp's part of the next round of which it has any; nothing is left of
  /// what comes after the last.
  __device__ Walk next_walk() {
    const int of_layers = kLayerProducts * args_.num_layers;
    const int count = of_layers + (args_.chooses ? 1 : 0);
    while (true) {
      if (rounds_.left == 0) {
        if (product_ == count) return {};
        const bool is_head = product_ == of_layers;
        const int kind = is_head ? kLayerProducts : product_ % kLayerProducts;
        weight_ = is_head ? args_.head
                          : layers_[product_ / kLayerProducts].weights[kind];
        row_tiles_ = args_.shapes[kind].tiles;
        rounds_ = Rounds(cut_portion(args_.cuts[kind], block_place_));
        ++product_;
        continue;
      }
      const auto rows = rounds_.next();
      const Columns columns(row_tiles_, warp_);
      if (columns.count() == 0) continue;
      return Walk(weight_, Tile::kBytes, rows, row_tiles_, columns);
    }
  }
};

}  // namespace llamlx::cuda
