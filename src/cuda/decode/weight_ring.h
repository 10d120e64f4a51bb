#pragma once

#include "cuda/decode/copy_once.h"
#include "cuda/decode/portions.h"

namespace llamlx::cuda {

/// Where in the ring of a block something is: which stage, and the parity of
/// its barriers' phase then.
class RingPlace {
 public:
  __device__ explicit RingPlace(int stages) : stages_(stages) {}
  __device__ int slot() const { return slot_; }
  __device__ int parity() const { return parity_; }
  __device__ void advance() {
    if (++slot_ < stages_) return;
    slot_ = 0;
    parity_ ^= 1;
  }

 private:
  int stages_;
  int slot_ = 0;
  int parity_ = 0;
};

/// All weights on their way through shared memory, in the order in which they
/// are wanted, across steps and layers. A stage has the next tiles of every
/// warp. A warp of its own feeds it, so that nobody else has to know what comes
/// next; the others take it.
template <typename Tile>
class WeightRing {
 public:
  static constexpr int kStageTiles = decode_stage_tiles(Tile::kBytes);
  static constexpr int kPieceBytes = kStageTiles * Tile::kBytes;

  __device__ explicit WeightRing(const DecodeArgs& args) : args_(args) {}

  /// By one thread, before all others.
  __device__ void make() const {
    for (int i = 0; i < args_.stages; ++i) {
      make_barrier(full(i), 1);
      make_barrier(empty(i), kDecodeComputing);
    }
    show_barriers();
  }

  /// Its own tiles of a stage, for a warp that waits for them.
  __device__ const unsigned char* wait(const RingPlace& place, int warp) const {
    wait_at_barrier(full(place.slot()), place.parity());
    return piece(place.slot(), warp);
  }
  /// They are no longer needed: by all lanes of the warp, each for itself.
  __device__ void release(const RingPlace& place) const {
    arrive_at_barrier(empty(place.slot()));
  }

  /// By the warp that feeds: all weights.
  __device__ void feed() const {
    RingPlace place(args_.stages);
    int block_place = static_cast<int>(blockIdx.x);
    const int count = kLayerProducts * args_.num_layers;
    const auto weight_of = [&](int i) {
      return i < count
                 ? args_.layers[i / kLayerProducts].weights[i % kLayerProducts]
                 : args_.head;
    };
    const auto* next = weight_of(0);
#pragma unroll 1
    for (int i = 0; i < count + (args_.chooses ? 1 : 0); ++i) {
      // Looked up before it is needed.
      const auto* weight = next;
      next = weight_of(i + 1);
      const int kind = i < count ? i % kLayerProducts : kLayerProducts;
      feed_product(weight, args_.shapes[kind].tiles, args_.cuts[kind], place,
                   block_place);
    }
  }

 private:
  const DecodeArgs& args_;

  __device__ std::uint64_t* full(int slot) const {
    return reinterpret_cast<std::uint64_t*>(shared_memory() +
                                            args_.memory.barriers) +
           slot;
  }
  __device__ std::uint64_t* empty(int slot) const {
    return full(args_.stages + slot);
  }
  __device__ unsigned char* piece(int slot, int warp) const {
    return shared_memory() + args_.memory.ring +
           (slot * kDecodeWarps + warp) * kPieceBytes;
  }

  /// Each of the first lanes sees to a warp's tiles.
  __device__ void feed_product(const unsigned char* weight, int row_tiles,
                               const ProductCut& cut, RingPlace& place,
                               int& block_place) const {
    const auto portion = cut_portion(cut, block_place);
    const int tiles = portion.count * row_tiles;
    const int lane = thread_now() % kWarpSize;
    const int warp = min(lane, kDecodeWarps - 1);
    const int first = first_tile(tiles, warp);
    int left = first_tile(tiles, warp + 1) - first;
    weight += (static_cast<long long>(portion.first) * row_tiles + first) *
              Tile::kBytes;
    const int stages = run_stages<Tile>(tiles);
#pragma unroll 1
    for (int i = 0; i < stages; ++i) {
      wait_at_barrier(empty(place.slot()), place.parity() ^ 1);
      const int bytes = min(left, kStageTiles) * Tile::kBytes;
      int all = lane < kDecodeWarps ? bytes : 0;
      for (int step = kDecodeWarps / 2; step > 0; step /= 2) {
        all += __shfl_xor_sync(kAllLanes, all, step);
      }
      if (lane == 0) arrive_expecting(full(place.slot()), all);
      __syncwarp();
      if (lane < kDecodeWarps && bytes > 0) {
        copy_once(piece(place.slot(), warp), weight, bytes, full(place.slot()));
      }
      weight += bytes;
      left -= bytes / Tile::kBytes;
      place.advance();
    }
  }
};

}  // namespace llamlx::cuda
