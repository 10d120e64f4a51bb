#pragma once

#include "cuda/decode/copy_once.h"
#include "cuda/decode/decode.h"
#include "cuda/not_earlier.h"

namespace llamlx::cuda {

/// A warp's part of all weights on its way through shared memory, in the order
/// in which it is wanted, across steps and layers (pieces.h). When the warp has
/// multiplied a piece, it asks for another in its place, whatever step that is
/// of: so as many as there is room for, but one, are there or on their way. All
/// lanes of the warp call its functions together.
template <typename Tile>
class WeightRing {
 public:
  static constexpr int kPieceTiles = decode_piece_tiles(Tile::kBytes);

  __device__ WeightRing(const DecodeArgs& args, int warp, unsigned lane)
      : args_(args),
        barriers_(DecodeMemory::kBarriers +
                  warp * kDecodeMostPieces * kBarrierBytes),
        pieces_(args.memory.ring + warp * args.pieces * kPieceBytes),
        end_(not_earlier(pieces_ + args.pieces * kPieceBytes)),
        piece_(pieces_),
        barrier_(barriers_),
        free_piece_(pieces_),
        free_barrier_(barriers_),
        lane_(lane),
        list_(reinterpret_cast<DecodePiece*>(shared_memory() +
                                             DecodeMemory::kLists) +
              warp * int{kDecodeListed}) {
    const auto list =
        args.lists[static_cast<int>(blockIdx.x) * kDecodeWarps + warp];
    listed_ = args.listed + list.first;
    all_ = static_cast<unsigned>(args.chooses ? list.all : list.of_layers);
  }

  /// Asks for the list's beginning.
  __device__ void ask_list() const {
    for (unsigned i = 0; i < kDecodeListed; i += kListedAtOnce) ask_list(i);
  }
  /// Asks for the first pieces.
  __device__ void begin() {
    if (lane_ == 0) {
      for (int i = 0; i < args_.pieces; ++i) {
        make_barrier(barrier_at(barriers_ + i * kBarrierBytes), 1);
      }
      show_barriers();
    }
    await_list();
    next_ = listed(0);
    for (int i = 0; i < args_.pieces - 1; ++i) {
      ask();
      free_piece_ += kPieceBytes;
      free_barrier_ += kBarrierBytes;
    }
  }
  /// Brings some more near of what there is no room for yet: a little at a
  /// time, while the warp waits for x, so that x need not wait for it.
  __device__ void bring_near() {
    constexpr unsigned kMost = (30 << 10) / kPieceBytes;
    static_assert(kMost <= kDecodeListed - 2 * kListedAtOnce);
    if (near_ < asked_) {
      near_ = asked_;
      near_segment_ = 0;
    }
    if (near_ == all_ || near_ - asked_ >= kMost) return;
    const auto piece = listed(near_);
    bring_bytes_near(
        piece.from + static_cast<long long>(near_segment_) * piece.row_bytes,
        piece.segment_bytes);
    if (++near_segment_ < piece.segments) return;
    ++near_;
    near_segment_ = 0;
  }
  /// The next piece, when it has come. Then replace() must be called.
  __device__ const unsigned char* wait() const {
    wait_at_barrier(barrier_at(barrier_), parity_);
    return shared_memory() + piece_;
  }
  /// Asks for another in place of the piece before that, which is no longer
  /// needed: while loads of this one are on their way.
  __device__ void replace() {
    __syncwarp();
    ask();
    free_piece_ = piece_;
    free_barrier_ = barrier_;
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
  static constexpr unsigned kListedAtOnce = kDecodeListed / 4;

  const DecodeArgs& args_;
  // Bytes of shared memory: of the first barrier, which opens when its piece
  // has come, of the first piece, and of what comes after the last.
  int barriers_;
  int pieces_;
  int end_;
  // What is waited for next.
  int piece_;
  int barrier_;
  int parity_ = 0;
  // Where there is room.
  int free_piece_;
  int free_barrier_;
  unsigned lane_;
  // The list, and what of it lies in shared memory: pieces from the next on, at
  // least half as many as there is room for.
  DecodePiece* list_;
  const DecodePiece* listed_;
  // How many of all have been asked for, and which comes next.
  unsigned asked_ = 0;
  unsigned all_;
  DecodePiece next_;
  // How many are near, if more, and how many segments of the next.
  unsigned near_ = 0;
  int near_segment_ = 0;

  static __device__ std::uint64_t* barrier_at(int byte) {
    return reinterpret_cast<std::uint64_t*>(shared_memory() + byte);
  }

  __device__ DecodePiece& listed(unsigned i) const {
    return list_[i % kDecodeListed];
  }
  /// The next pieces of the list.
  __device__ void ask_list(unsigned first) const {
    const unsigned i = first + lane_;
    if (lane_ < kListedAtOnce) copy_async(&listed(i), listed_ + i);
    commit_copies();
  }
  __device__ static void await_list() {
    wait_for_copies<0>();
    __syncwarp();
  }

  /// The next piece to where there is room.
  __device__ void ask() {
    if (asked_ == all_) return;
    const auto piece = next_;
    auto* to = shared_memory() + free_piece_;
    auto* barrier = barrier_at(free_barrier_);
    const int bytes = piece.segment_bytes;
    copy_once(to, piece.from, bytes, barrier, piece.segments * bytes);
    const auto* from = piece.from;
#pragma unroll 1
    for (int i = 1; i < piece.segments; ++i) {
      to += bytes;
      from += piece.row_bytes;
      copy_more(to, from, bytes, barrier);
    }
    ++asked_;
    next_ = listed(asked_);
    if (asked_ % kListedAtOnce != 0) return;
    // What was asked for last time, and now in place of what no longer counts.
    await_list();
    ask_list(asked_ + kDecodeListed - kListedAtOnce);
  }
};

}  // namespace llamlx::cuda
