#pragma once

#include "cuda/matmul/some_rows_output.h"
#include "cuda/matmul/warpgroup.h"

// What some_rows_hopper and some_rows_bf16 share.
namespace llamlx::cuda {

#ifdef LLAMLX_HAS_WARPGROUPS

/// A warp's tiles, one after another. After the last, and where a warp has
/// none, something comes that lies there: nobody looks at what it becomes.
template <typename S>
class TilesOfWarp {
 public:
  __device__ TilesOfWarp(const SomeRowsArgs& args, const Part& part,
                         Chunks<S>& chunks)
      : chunks_(chunks),
        lane_(part.lane),
        left_(part.block < args.products.row_blocks ? part.tiles : 0) {}

  /// The next, tile `index` of its stage.
  __device__ void load(typename S::Tile& tile, int index) {
    const int in_chunk = index % S::kChunk;
    if (in_chunk == 0) {
      if (left_ > 0) chunks_.wait();
      left_ -= S::kChunk;
    }
    tile.template load<FromShared>(
        chunks_.current() + in_chunk * S::Tile::kBytes, lane_);
    if (in_chunk + 1 < S::kChunk) return;
    chunks_.pass();
    chunks_.ask();
  }

 private:
  Chunks<S>& chunks_;
  int lane_;
  int left_;
};

/// A pointer into shared memory that all lanes have, which the compiler then
/// knows: descriptions that follow from it are computed once for a warp.
__device__ inline const unsigned char* alike(const unsigned char* p) {
  const auto* base = shared_memory();
  return base + __shfl_sync(kAllLanes, static_cast<int>(p - base), 0);
}

/// How far from each other tiles of a stage of x lie, and steps of them, as
/// addresses are in descriptions.
template <typename S>
inline constexpr int kDescribedTile = S::kRows* kTileCols * 2 / 16;
inline constexpr int kDescribedStep = 2;

/// How slices become one: those of a cluster, each of which adds up and writes
/// a part of the answers.
template <typename S>
struct SlicesInCluster {
  static __device__ bool add(const SomeRowsArgs&, const Space<S>&,
                             typename S::Sums&) {
    return true;
  }
  static __device__ int first() {
    return static_cast<int>(blockIdx.y * kSomeRowsThreads + threadIdx.x);
  }
  static __device__ int step() {
    return static_cast<int>(gridDim.y) * kSomeRowsThreads;
  }
  static __device__ Floats4 load(const float* p) {
    Floats4 sum{};
#pragma unroll 4
    for (int slice = 0; slice < static_cast<int>(gridDim.y); ++slice) {
      const auto its =
          load_from_block(reinterpret_cast<const Floats4*>(p), slice);
#pragma unroll
      for (int j = 0; j < 4; ++j) sum.f[j] += its.f[j];
    }
    return sum;
  }
  static __device__ void meet() { meet_cluster(); }
  /// Nobody reads another's memory after it is gone.
  static __device__ void leave() { meet_cluster(); }
};

#endif  // LLAMLX_HAS_WARPGROUPS

}  // namespace llamlx::cuda
