#pragma once

#include "cuda/matmul/many_rows_hopper.h"
#include "cuda/matmul/operand_order.h"
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

/// How answers leave: as they are, or of gates, as floats or as operands.
enum class Leaving { plain, gated, operands };

/// Answers on their way out: the sums of a warpgroup's 64 rows of the weight
/// and some rows of x meet in shared memory, and go from there side by side.
template <int kTokens>
class Answers {
 public:
  /// `memory` of hopper_answer_bytes() is the warpgroup's.
  __device__ Answers(const ManyRowsArgs& args, float* memory, int group)
      : args_(args),
        memory_(memory),
        scales_(memory + kHopperOutBuffers * kBuffer),
        group_(group) {
    width_ = args.output == Output::swiglu ? args.out_rows / 2 : args.out_rows;
    is_whole_ = width_ % 4 == 0 && args.out_stride % 4 == 0 &&
                reinterpret_cast<std::uintptr_t>(args.out) % 16 == 0;
  }

  /// Asks for what will be wanted, while products are computed.
  __device__ void begin(const Piece<kTokens>& piece) {
    first_token_ = piece.first_token;
    first_row_ = piece.first_block * kTileRows + group_ * kHopperBlock / 2;
#pragma unroll
    for (int i = 0; i < kTokens / 128; ++i) {
      const int token = first_token_ + 128 * i + thread();
      const bool is_scaled = args_.scales != nullptr && token < args_.rows;
      scale_[i] = is_scaled ? args_.scales[token] : 1;
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
  __device__ void write(const float (&sums)[kTokens / 8][4]) {
#pragma unroll
    for (int i = 0; i < kTokens / 128; ++i) {
      scales_[128 * i + thread()] = scale_[i];
    }
    meet();
    if (args_.output != Output::swiglu) return leave<Leaving::plain>(sums);
    if (args_.operands == nullptr) return leave<Leaving::gated>(sums);
    leave<Leaving::operands>(sums);
  }

 private:
  static constexpr int kBuffer = kHopperOutTokens * kHopperOutStride;
  /// Numbers from a row of operands to the next, in a buffer: 8 of them begin
  /// in different banks.
  static constexpr int kOperandStride = 32 + 8;

  const ManyRowsArgs& args_;
  float* memory_;
  float* scales_;
  int group_;
  int width_;  // columns of what is written
  bool is_whole_;
  int first_row_ = 0;
  int first_token_ = 0;
  float scale_[kTokens / 128] = {};  // of the thread's rows of x
  float bias_[2] = {};

  static __device__ int thread() { return static_cast<int>(threadIdx.x) % 128; }
  static __device__ int lane() { return thread() % kWarpSize; }
  /// The first of the lane's rows of the weight, within the warpgroup's.
  static __device__ int row() {
    return thread() / kWarpSize * kTileRows + lane() / 4;
  }
  __device__ void meet() const { meet_group(1 + group_, 128); }

  template <Leaving kLeaving>
  __device__ void leave(const float (&sums)[kTokens / 8][4]) {
    // Code that runs once comes from far away: there is little of it.
#pragma unroll 1
    for (int turn = 0; turn < kTokens / kHopperOutTokens; ++turn) {
      const int first = turn * kHopperOutTokens;
      if (first_token_ + first >= args_.rows) break;
      // Of two buffers one is read by those who are late.
      auto* const buffer = memory_ + turn % kHopperOutBuffers * kBuffer;
#pragma unroll
      for (int n = 0; n < kTokens / 8; ++n) {
        if (n / (kHopperOutTokens / 8) != turn) continue;
        put<kLeaving>(sums[n], buffer, first, n % (kHopperOutTokens / 8) * 8);
      }
      meet();
      if constexpr (kLeaving == Leaving::operands) {
        send_operands(buffer, first);
      } else if (is_whole_) {
        send<kLeaving>(buffer, first);
      } else {
        send_apart<kLeaving>(buffer, first);
      }
    }
  }

  /// Of 8 rows of x from `token` of the buffer on.
  template <Leaving kLeaving>
  __device__ void put(const float (&sums)[4], float* buffer, int first,
                      int token) const {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int at = token + lane() % 4 * 2 + j;
      const float by = scales_[first + at];
      const float low = sums[j] * by + bias_[0];
      const float high = sums[2 + j] * by + bias_[1];
      if constexpr (kLeaving == Leaving::plain) {
        auto* to = buffer + at * kHopperOutStride + row();
        to[0] = low;
        to[8] = high;
      } else {
        const int col = thread() / kWarpSize * 8 + lane() / 4;
        const float gated = silu(low) * high;
        if constexpr (kLeaving == Leaving::gated) {
          buffer[at * kHopperOutStride + col] = gated;
        } else {
          reinterpret_cast<std::uint16_t*>(buffer)[at * kOperandStride + col] =
              static_cast<std::uint16_t>(pack(Bf16{}, gated, 0));
        }
      }
    }
  }

  /// Columns of what is written: of the warpgroup, and the first of them.
  template <Leaving kLeaving>
  static constexpr int kCols = kLeaving == Leaving::plain ? 64 : 32;
  template <Leaving kLeaving>
  __device__ int first_col() const {
    return kLeaving == Leaving::plain ? first_row_ : first_row_ / 2;
  }
  __device__ float* place(int token, int col) const {
    return args_.out + static_cast<long long>(token) * args_.out_stride + col;
  }

  /// Four numbers of a row of x a thread.
  template <Leaving kLeaving>
  __device__ void send(const float* buffer, int first) const {
    constexpr int kThreads = kCols<kLeaving> / 4;  // of a row of x
    const int at = thread() % kThreads * 4;
    const int col = first_col<kLeaving>() + at;
    if (col >= width_) return;
#pragma unroll
    for (int i = 0; i < kHopperOutTokens * kThreads / 128; ++i) {
      const int row = (128 * i + thread()) / kThreads;
      const int token = first_token_ + first + row;
      if (token >= args_.rows) break;
      auto* to = reinterpret_cast<Floats4*>(place(token, col));
      const auto y = *reinterpret_cast<const Floats4*>(
          buffer + row * kHopperOutStride + at);
      if (args_.output != Output::add) {
        *to = y;
      } else if (args_.operands == nullptr) {
        add_floats(to, y);
      } else {
        auto before = load_fresh(to);
        for (int j = 0; j < 4; ++j) before.f[j] += y.f[j];
        *to = before;
      }
    }
  }

  /// Where rows do not begin at multiples of 16 bytes.
  template <Leaving kLeaving>
  __device__ void send_apart(const float* buffer, int first) const {
    constexpr int kEach = kCols<kLeaving>;
    for (int i = thread(); i < kHopperOutTokens * kEach; i += 128) {
      const int token = first_token_ + first + i / kEach;
      const int col = first_col<kLeaving>() + i % kEach;
      if (token >= args_.rows || col >= width_) continue;
      auto* to = place(token, col);
      const float y = buffer[i / kEach * kHopperOutStride + i % kEach];
      *to = args_.output == Output::add ? load_fresh(to) + y : y;
    }
  }

  /// 8 numbers a thread.
  __device__ void send_operands(const float* buffer, int first) const {
    const int token = first_token_ + first + thread() / 4;
    const int col = first_row_ / 2 + thread() % 4 * 8;
    if (thread() >= 4 * kHopperOutTokens || token >= args_.rows) return;
    if (col >= width_) return;
    const auto tile = static_cast<long long>(col / kTileCols) * args_.rows;
    const auto* numbers = reinterpret_cast<const std::uint16_t*>(buffer) +
                          thread() / 4 * kOperandStride + thread() % 4 * 8;
    auto* to = args_.operands + (tile + token) * kTileCols +
               place_in_row(OperandOrder::tiles, token, col % kTileCols);
    *reinterpret_cast<Words4*>(to) = *reinterpret_cast<const Words4*>(numbers);
  }
};

#endif  // LLAMLX_HAS_WARPGROUPS

}  // namespace llamlx::cuda
