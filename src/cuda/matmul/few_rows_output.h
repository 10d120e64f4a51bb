#pragma once

#include "cuda/matmul/few_rows.h"
#include "cuda/matmul/row_loads.h"

namespace llamlx::cuda {

/// The warps that have a block of 16 rows together.
struct WarpGroup {
  int share;   // warps
  int number;  // of this one in the block of threads
  int member;  // this warp in it
  int first;   // block of rows
  int step;    // from one to the next

  __device__ explicit WarpGroup(const FewRowsArgs& args)
      : share(args.share),
        number(static_cast<int>(threadIdx.x) / kWarpSize / share),
        member(static_cast<int>(threadIdx.x) / kWarpSize % share),
        first(static_cast<int>(blockIdx.x) * (kFewRowsWarps / share) + number),
        step(static_cast<int>(gridDim.x) * (kFewRowsWarps / share)) {}

  __device__ int threads() const { return share * kWarpSize; }
  __device__ int thread() const {
    return member * kWarpSize + static_cast<int>(threadIdx.x) % kWarpSize;
  }
  __device__ void meet() const { meet_group(number + 1, threads()); }
};

/// What a warp has of a block of 16 rows, to where the block adds it up.
__device__ inline void write_partial(float (&acc)[4], int lane,
                                     float* partial) {
  auto* mine = partial + lane / 4 * 8 + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    mine[i / 2 * 64 + i % 2] = acc[i];
    acc[i] = 0;
  }
}
__device__ inline void write_partial(float (&acc)[16], int lane,
                                     float* partial) {
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    float sum = acc[i];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    if (lane % 4 == 0) partial[(i % 2 * 8 + lane / 4) * 8 + i / 2] = sum;
    acc[i] = 0;
  }
}

/// An output of a block of 16 rows: one row of the weight, or with swiglu the
/// two of a gate, and one of x. As many lanes as there are warps in a group
/// each have what one of those summed up for it.
class BlockOutput {
 public:
  static constexpr int kAtOnce = kWarpSize;  // of a group

  __device__ BlockOutput(const FewRowsArgs& args, const WarpGroup& group,
                         int block, int index)
      : args_(args), share_(group.share), lane_(group.thread() % group.share) {
    const bool is_gated = args.output == Output::swiglu;
    const int rows = is_gated ? 8 : kTileRows;
    row_ = index % rows;
    col_ = index / rows;
    n_ = block * kTileRows + row_;
    const int place = is_gated ? block * 8 + row_ : n_;
    const bool is_there =
        col_ < args.rows && (is_gated ? 2 * place : place) < args.out_rows;
    is_mine_ = is_there && lane_ == 0;
    out_ = args.out + static_cast<long long>(col_) * args.out_stride + place;
  }

  __device__ static int count(const FewRowsArgs& args) {
    return args.rows * (args.output == Output::swiglu ? 8 : kTileRows);
  }

  /// What is added to the products, asked for while they are made.
  __device__ float addend() const {
    if (!is_mine_ || args_.output == Output::swiglu) return 0;
    float value = args_.bias != nullptr ? args_.bias[n_] : 0;
    if (args_.output == Output::add) value += load_fresh(out_);
    return value;
  }

  /// `partial`: of the group's warps.
  __device__ void write(const float* partial, const float* scales,
                        float addend) const {
    const float first = sum(partial, row_);
    if (args_.output != Output::swiglu) {
      if (is_mine_) *out_ = first * scales[col_] + addend;
      return;
    }
    const float second = sum(partial, row_ + 8);
    if (!is_mine_) return;
    *out_ = silu(first * scales[col_] + bias(n_)) *
            (second * scales[col_] + bias(n_ + 8));
  }

 private:
  __device__ float sum(const float* partial, int row) const {
    float value = partial[lane_ * kFewRowsPartial + row * 8 + col_];
#pragma unroll
    for (int step = kFewRowsWarps / 2; step > 0; step /= 2) {
      if (step >= share_) continue;
      value += __shfl_xor_sync(kAllLanes, value, step);
    }
    return value;
  }
  __device__ float bias(int n) const {
    return args_.bias == nullptr ? 0 : args_.bias[n];
  }

  const FewRowsArgs& args_;
  int share_;
  int lane_;
  int row_;  // of the block
  int col_;  // row of x
  int n_;    // row of the weight
  bool is_mine_;
  float* out_;
};

/// Adds up what the warps of a group have of a block, and writes it. `addend`:
/// of the first output that this thread has to do with.
__device__ inline void write_block(const FewRowsArgs& args,
                                   const WarpGroup& group, const float* partial,
                                   const float* scales, int block,
                                   float addend) {
  const int first = group.thread() / group.share;
  for (int i = first; i < BlockOutput::count(args); i += BlockOutput::kAtOnce) {
    const BlockOutput output(args, group, block, i);
    output.write(partial, scales, i == first ? addend : output.addend());
  }
}

}  // namespace llamlx::cuda
