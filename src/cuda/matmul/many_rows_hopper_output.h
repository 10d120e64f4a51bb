#pragma once

#include "cuda/matmul/many_rows_hopper.h"
#include "cuda/matmul/row_loads.h"
#include "cuda/matmul/warpgroup.h"

// How the answers of many_rows_hopper.cu leave.
namespace llamlx::cuda {

#ifdef LLAMLX_HAS_WARPGROUPS

/// Blocks of 16 rows of the weight that a block of threads takes.
inline constexpr int kHopperRowBlocks = kHopperBlock / kTileRows;

/// What a block computes at a time: kHopperBlock rows of the weight times
/// kTokens of x.
template <int kTokens>
struct Piece {
  int first_block;
  int first_token;

  __device__ Piece(const ManyRowsArgs& args, int index) {
    const int of_tokens = ceil_divide(args.rows, kTokens);
    first_block = index / of_tokens * kHopperRowBlocks;
    first_token = index % of_tokens * kTokens;
  }
};

/// Answers on their way out: the sums of a warpgroup's 64 rows of the weight
/// and some rows of x meet in shared memory, and go from there side by side.
template <int kTokens>
class Answers {
 public:
  /// `memory` [kHopperOutTokens, kHopperOutStride], and then scales [kTokens],
  /// is the warpgroup's.
  __device__ Answers(const ManyRowsArgs& args, float* memory, int group)
      : args_(args),
        memory_(memory),
        scales_(memory + kHopperOutTokens * kHopperOutStride),
        group_(group) {}

  /// Asks for what will be wanted, while products are computed.
  __device__ void begin(const Piece<kTokens>& piece) {
    first_token_ = piece.first_token;
    first_row_ = piece.first_block * kTileRows + group_ * kHopperBlock / 2;
#pragma unroll
    for (int i = 0; i < kTokens / 128; ++i) {
      const int token = first_token_ + 128 * i + thread();
      scale_[i] = token < args_.rows ? args_.scales[token] : 0;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int at = first_row_ + row() + 8 * i;
      const bool has_bias = args_.bias != nullptr && at < args_.out_rows;
      bias_[i] = has_bias ? args_.bias[at] : 0;
    }
  }

  /// Lane 4 g + t has, of each 8 rows of x, 2 t and 2 t + 1, and rows g and
  /// g + 8 of its warp's block.
  __device__ void write(const float (&sums)[kTokens / 8][4]) const {
    constexpr int kAtOnce = kHopperOutTokens / 8;
#pragma unroll
    for (int i = 0; i < kTokens / 128; ++i) {
      scales_[128 * i + thread()] = scale_[i];
    }
    meet();
    // Code that runs once comes from far away: there is little of it.
#pragma unroll 1
    for (int turn = 0; turn < kTokens / kHopperOutTokens; ++turn) {
      const int first = turn * kHopperOutTokens;
      if (first_token_ + first >= args_.rows) break;
      Out out(*this, first);
#pragma unroll
      for (int i = 0; i < kTokens / kHopperOutTokens; ++i) {
        if (i != turn) continue;
#pragma unroll
        for (int n = 0; n < kAtOnce; ++n) {
          put(sums[i * kAtOnce + n], scales_ + first, 8 * n);
        }
      }
      meet();
      out.send();
      meet();
    }
  }

 private:
  const ManyRowsArgs& args_;
  float* memory_;
  float* scales_;
  int group_;
  int first_row_ = 0;
  int first_token_ = 0;
  float scale_[kTokens / 128] = {};  // of the thread's rows of x
  float bias_[2] = {};

  static __device__ int thread() { return static_cast<int>(threadIdx.x) % 128; }
  /// The first of the lane's rows of the weight, within the warpgroup's.
  static __device__ int row() {
    return thread() / kWarpSize * kTileRows + thread() % kWarpSize / 4;
  }
  __device__ void meet() const { meet_group(1 + group_, 128); }

  __device__ void put(const float (&sums)[4], const float* scales,
                      int token) const {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int at = token + thread() % 4 * 2 + j;
      auto* to = memory_ + at * kHopperOutStride + row();
      to[0] = sums[j] * scales[at] + bias_[0];
      to[8] = sums[2 + j] * scales[at] + bias_[1];
    }
  }

  /// Some rows of x on their way: four rows of the weight a thread, or an
  /// answer of gates.
  class Out {
   public:
    __device__ Out(const Answers& answers, int first)
        : answers_(answers), first_token_(answers.first_token_ + first) {
      const auto& args = answers.args_;
      left_ = args.out_rows - answers.first_row_ - col();
      is_whole_ = left_ >= 4 && args.out_stride % 4 == 0 &&
                  reinterpret_cast<std::uintptr_t>(args.out) % 16 == 0;
      if (args.output != Output::add) return;
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        if (!is_there(i)) continue;
        if (is_whole_) {
          before_[i] = load_fresh(reinterpret_cast<const Floats4*>(place(i)));
          continue;
        }
        for (int j = 0; j < 4 && j < left_; ++j) {
          before_[i].f[j] = load_fresh(place(i) + j);
        }
      }
    }

    __device__ void send() {
      if (answers_.args_.output == Output::swiglu) return send_gated();
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        if (!is_there(i)) continue;
        const auto y = *reinterpret_cast<const Floats4*>(
            answers_.memory_ + token(i) * kHopperOutStride + col());
#pragma unroll
        for (int j = 0; j < 4; ++j) before_[i].f[j] += y.f[j];
        if (is_whole_) {
          *reinterpret_cast<Floats4*>(place(i)) = before_[i];
          continue;
        }
        for (int j = 0; j < 4 && j < left_; ++j) {
          place(i)[j] = before_[i].f[j];
        }
      }
    }

   private:
    static constexpr int kEach = kHopperOutTokens / 8;

    const Answers& answers_;
    int first_token_;
    int left_;  // rows of the weight from the thread's first on
    bool is_whole_;
    Floats4 before_[kEach] = {};

    static __device__ int col() { return thread() % 16 * 4; }
    static __device__ int token(int i) { return 8 * i + thread() / 16; }
    __device__ bool is_there(int i) const {
      return left_ > 0 && first_token_ + token(i) < answers_.args_.rows;
    }
    __device__ float* place(int i) const {
      const auto& args = answers_.args_;
      return args.out +
             static_cast<long long>(first_token_ + token(i)) * args.out_stride +
             answers_.first_row_ + col();
    }

    __device__ void send_gated() const {
      const auto& args = answers_.args_;
      const int col = thread() % 32;
      const int gate = col / 8 * kTileRows + col % 8;
      const int to = answers_.first_row_ / 2 + col;
      if (2 * to >= args.out_rows) return;
#pragma unroll
      for (int i = 0; i < kHopperOutTokens / 4; ++i) {
        const int token = 4 * i + thread() / 32;
        if (first_token_ + token >= args.rows) break;
        const auto* y = answers_.memory_ + token * kHopperOutStride + gate;
        args.out[static_cast<long long>(first_token_ + token) *
                     args.out_stride +
                 to] = silu(y[0]) * y[8];
      }
    }
  };
};

#endif  // LLAMLX_HAS_WARPGROUPS

}  // namespace llamlx::cuda
