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
        scales_(memory + kHopperOutTokens * kHopperOutStride),
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
  __device__ void write(const float (&sums)[kTokens / 8][4]) const {
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
  static constexpr int kTurns = kTokens / kHopperOutTokens;
  /// Numbers from a row of operands to the next: 8 rows begin in different
  /// banks.
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
  __device__ void leave(const float (&sums)[kTokens / 8][4]) const {
    auto sender = [&] {
      if constexpr (kLeaving == Leaving::operands) return OperandSender(*this);
      if constexpr (kLeaving != Leaving::operands) {
        return FloatSender<kLeaving>(*this);
      }
    }();
    // Two warps of a scheduler wait for each other here: few instructions that
    // follow from each other, and no branches that go far.
#pragma unroll 1
    for (int turn = 0; turn < kTurns; ++turn) {
      if (first_token_ + turn * kHopperOutTokens >= args_.rows) break;
      put_turn<kLeaving, 0, kTurns>(sums, turn);
      meet();
      sender.send();
      meet();
    }
  }

  /// Of one turn of those from kFirst to kEnd: registers have no index.
  template <Leaving kLeaving, int kFirst, int kEnd>
  __device__ void put_turn(const float (&sums)[kTokens / 8][4],
                           int turn) const {
    constexpr int kMiddle = (kFirst + kEnd) / 2;
    if constexpr (kEnd - kFirst > 1) {
      if (turn < kMiddle) {
        put_turn<kLeaving, kFirst, kMiddle>(sums, turn);
      } else {
        put_turn<kLeaving, kMiddle, kEnd>(sums, turn);
      }
    } else {
      constexpr int kTiles = kHopperOutTokens / 8;
      Words2 scales[kTiles];
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        scales[n] = *reinterpret_cast<const Words2*>(
            scales_ + kFirst * kHopperOutTokens + 8 * n + lane() % 4 * 2);
      }
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        put<kLeaving>(sums[kFirst * kTiles + n], scales[n], 8 * n);
      }
    }
  }

  /// Of 8 rows of x from `token` of the turn on.
  template <Leaving kLeaving>
  __device__ void put(const float (&sums)[4], const Words2& scales,
                      int token) const {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int at = token + lane() % 4 * 2 + j;
      const float scale = __uint_as_float(scales.w[j]);
      const float low = sums[j] * scale + bias_[0];
      const float high = sums[2 + j] * scale + bias_[1];
      if constexpr (kLeaving == Leaving::plain) {
        auto* to = memory_ + at * kHopperOutStride + row();
        to[0] = low;
        to[8] = high;
      } else {
        const int col = thread() / kWarpSize * 8 + lane() / 4;
        const float gated = silu(low) * high;
        if constexpr (kLeaving == Leaving::gated) {
          memory_[at * kHopperOutStride + col] = gated;
        } else {
          reinterpret_cast<std::uint16_t*>(memory_)[at * kOperandStride + col] =
              static_cast<std::uint16_t>(pack(Bf16{}, gated, 0));
        }
      }
    }
  }

  /// What a thread writes of each turn: four numbers of some rows of x.
  template <Leaving kLeaving>
  class FloatSender {
   public:
    __device__ explicit FloatSender(const Answers& answers)
        : answers_(answers),
          from_(answers.memory_ + row() * kHopperOutStride + col()) {
      const auto& args = answers.args_;
      const int first_col = kLeaving == Leaving::plain ? answers.first_row_
                                                       : answers.first_row_ / 2;
      cols_ = answers.width_ - first_col - col();
      rows_ = cols_ > 0 ? args.rows - answers.first_token_ - row() : 0;
      to_ = args.out +
            static_cast<long long>(answers.first_token_ + row()) *
                args.out_stride +
            first_col + col();
    }

    __device__ void send() {
      Floats4 y[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        y[i] = *reinterpret_cast<const Floats4*>(from_ + i * kRowsAtOnce *
                                                             kHopperOutStride);
      }
      if (answers_.is_whole_ && answers_.args_.output == Output::add) {
        each([&](float* to, int i) {
          add_floats(reinterpret_cast<Floats4*>(to), y[i]);
        });
      } else if (answers_.is_whole_) {
        each([&](float* to, int i) { *reinterpret_cast<Floats4*>(to) = y[i]; });
      } else {
        each([&](float* to, int i) { send_apart(to, y[i]); });
      }
      rows_ -= kHopperOutTokens;
      to_ +=
          static_cast<long long>(kHopperOutTokens) * answers_.args_.out_stride;
    }

   private:
    static constexpr int kThreads = kLeaving == Leaving::plain ? 16 : 8;
    static constexpr int kRowsAtOnce = 128 / kThreads;
    static constexpr int kEach = kHopperOutTokens / kRowsAtOnce;

    const Answers& answers_;
    const float* from_;
    float* to_;
    int cols_;  // from the thread's first on
    int rows_;  // from that of the turn on

    template <typename Write>
    __device__ void each(const Write& write) const {
      const auto step =
          static_cast<long long>(kRowsAtOnce) * answers_.args_.out_stride;
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        if (i * kRowsAtOnce < rows_) write(to_ + i * step, i);
      }
    }
    static __device__ int row() { return thread() / kThreads; }
    static __device__ int col() { return thread() % kThreads * 4; }

    /// Where rows do not begin at multiples of 16 bytes.
    __device__ void send_apart(float* to, const Floats4& y) const {
      const bool adds = answers_.args_.output == Output::add;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (j < cols_) to[j] = adds ? load_fresh(to + j) + y.f[j] : y.f[j];
      }
    }
  };

  /// The same, of operands: eight numbers of a row of x.
  class OperandSender {
   public:
    __device__ explicit OperandSender(const Answers& answers) {
      const auto& args = answers.args_;
      const int row = thread() / 4;
      const int token = answers.first_token_ + row;
      const int at = thread() % 4 * 8;
      const int col = answers.first_row_ / 2 + at;
      const auto tile = static_cast<long long>(col / kTileCols) * args.rows;
      from_ = reinterpret_cast<const std::uint16_t*>(answers.memory_) +
              row * kOperandStride + at;
      to_ = args.operands + (tile + token) * kTileCols +
            place_in_row(OperandOrder::tiles, token, col % kTileCols);
      rows_ = col < answers.width_ ? args.rows - token : 0;
    }

    __device__ void send() {
      if (rows_ > 0) {
        *reinterpret_cast<Words4*>(to_) =
            *reinterpret_cast<const Words4*>(from_);
      }
      rows_ -= kHopperOutTokens;
      to_ += kHopperOutTokens * kTileCols;
    }

   private:
    static_assert(4 * kHopperOutTokens == 128);

    const std::uint16_t* from_;
    std::uint16_t* to_;
    int rows_;
  };
};

#endif  // LLAMLX_HAS_WARPGROUPS

}  // namespace llamlx::cuda
