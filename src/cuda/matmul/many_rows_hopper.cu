#include "cuda/matmul/formats.h"
#include "cuda/matmul/many_rows_hopper_output.h"

namespace llamlx::cuda {
namespace {

#ifdef LLAMLX_HAS_WARPGROUPS

constexpr int kWeightBytes = kHopperBlock * kTileCols * 2;
constexpr int kDenseBytes = kTileRows * kTileCols * 2;
constexpr int kRowBytes = kTileCols * 2;  // of x, in a stage
constexpr int kWarps = kHopperComputing / kWarpSize;

template <int kValue>
struct Which {
  static constexpr int value = kValue;
};

/// The stages in shared memory, which are filled and emptied in turn: rows of
/// x, and then numbers of the weight, if they are dense. Everyone who walks
/// along them has one.
template <int kTokens, bool kIsDense>
class Stages {
 public:
  static constexpr int kCount = hopper_stages(kTokens, kIsDense);

  /// Makes the barriers: by all threads, who meet before they go on.
  __device__ Stages()
      : memory_(memory_of_operands()),
        full_(reinterpret_cast<std::uint64_t*>(memory_ + kCount * kBytes +
                                               2 * kAnswerBytes)) {
    if (threadIdx.x == 0) {
      for (int i = 0; i < kCount; ++i) {
        make_barrier(full_ + i);
        make_barrier(full_ + kCount + i, kWarps);
      }
      show_barriers();
    }
    __syncthreads();
  }

  __device__ unsigned char* x() const { return memory_ + at_ * kBytes; }
  __device__ unsigned char* weight() const { return x() + kTokens * kRowBytes; }
  __device__ std::uint64_t* full() const { return full_ + at_; }
  /// Of one of two warpgroups.
  __device__ float* answers(int group) const {
    return reinterpret_cast<float*>(memory_ + kCount * kBytes +
                                    group * kAnswerBytes);
  }

  __device__ void wait_until_full() const { wait_at_barrier(full(), turn_); }
  __device__ std::uint64_t* empty() const { return full() + kCount; }
  /// Of its last turn.
  __device__ void wait_until_empty() const {
    wait_at_barrier(empty(), turn_ ^ 1);
  }
  /// A warp is done with the stage before this one.
  __device__ void empty_last(int lane) const {
    auto* barrier = full_ + kCount + (at_ == 0 ? kCount : at_) - 1;
    if (lane == 0) arrive_at_barrier(barrier);
  }
  __device__ void go_on() {
    if (++at_ < kCount) return;
    at_ = 0;
    turn_ ^= 1;
  }

 private:
  static constexpr int kBytes = hopper_stage_bytes(kTokens, kIsDense);
  static constexpr int kAnswerBytes = hopper_answer_bytes(kTokens);

  unsigned char* memory_;
  std::uint64_t* full_;
  int at_ = 0;
  int turn_ = 0;
};

template <typename Tile>
inline constexpr bool kIsDense = Tile::layout().bits == 0;
template <typename Tile, int kTokens>
using StagesOf = Stages<kTokens, kIsDense<Tile>>;

/// The steps of a block, one after another: 64 columns of a piece, of one
/// plane.
template <int kTokens>
class Steps {
 public:
  __device__ Steps(const ManyRowsArgs& args, int tile_bytes)
      : args_(args),
        count_(hopper_pieces(kTokens, args.rows, args.row_blocks)),
        tile_bytes_(tile_bytes),
        block_bytes_(static_cast<long long>(args.tiles) * tile_bytes),
        index_(static_cast<int>(blockIdx.x)) {
    begin();
  }

  __device__ bool are_left() const { return index_ < count_; }
  __device__ void go_on() {
    if (++plane_ < args_.planes) return;
    plane_ = 0;
    weight_ += tile_bytes_;
    if (++tile_ < args_.tiles) return;
    tile_ = 0;
    index_ += static_cast<int>(gridDim.x);
    begin();
  }

  /// How many blocks of 16 rows of the weight there are.
  __device__ int blocks() const { return blocks_; }
  __device__ const unsigned char* weight(int block) const {
    return weight_ + block * block_bytes_;
  }
  /// Asks for the rows of x; `others` bytes will also come to the stage.
  __device__ void ask_for_x(unsigned char* to, std::uint64_t* full,
                            int others) const {
    const auto tile = static_cast<long long>(plane_) * args_.tiles + tile_;
    arrive_expecting(full, x_bytes_ + others);
    copy_bulk_part(to, args_.x + (tile * args_.rows + first_token_) * kTileCols,
                   x_bytes_, full);
  }

 private:
  const ManyRowsArgs& args_;
  int count_;
  int tile_bytes_;
  long long block_bytes_;
  int index_;
  int tile_ = 0;
  int plane_ = 0;
  int first_token_;
  int x_bytes_;
  int blocks_;
  const unsigned char* weight_;

  __device__ void begin() {
    const Piece<kTokens> piece(args_, index_);
    first_token_ = piece.first_token;
    x_bytes_ = smaller(kTokens, args_.rows - first_token_) * kRowBytes;
    blocks_ = smaller(kHopperRowBlocks, args_.row_blocks - piece.first_block);
    weight_ = args_.weight + piece.first_block * block_bytes_;
  }
};

/// What the last warp does: it asks for rows of x, and for numbers of the
/// weight where they are read as they are.
template <typename Tile, int kTokens>
__device__ void feed(const ManyRowsArgs& args,
                     StagesOf<Tile, kTokens>& stages) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  wait_for_predecessor();
  let_successor_start();
  for (Steps<kTokens> step(args, kDenseBytes); step.are_left();
       step.go_on(), stages.go_on()) {
    const int blocks = kIsDense<Tile> ? step.blocks() : 0;
    stages.wait_until_empty();
    if (lane == 0) {
      step.ask_for_x(stages.x(), stages.full(), blocks * kDenseBytes);
    }
    __syncwarp();
    if (lane < blocks) {
      copy_bulk_part(stages.weight() + lane * kDenseBytes, step.weight(lane),
                     kDenseBytes, stages.full());
    }
  }
}

/// The left operand of a warpgroup, step by step. Of codes: a warp asks for its
/// tile of a step two steps before, and makes operands of it while the products
/// of the step before are computed. What is of even steps and of odd ones has
/// its own registers.
template <typename Tile, int kTokens>
class Left {
 public:
  __device__ explicit Left(const ManyRowsArgs& args)
      : ahead_(args, Tile::kBytes) {
    load(codes_[0]);
    load(codes_[1]);
    make_next<1>();
  }

  /// With those of even steps (0) or odd ones.
  template <int kWhich>
  __device__ void multiply(float (&sums)[kTokens / 8][4],
                           const StagesOf<Tile, kTokens>& stages) const {
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      multiply_warpgroup(typename Tile::Operand{}, sums, operands_[kWhich][s],
                         describe_rows(stages.x(), s));
    }
  }
  /// Makes the others, once the products with them are done.
  template <int kWhich>
  __device__ void make_next() {
    constexpr int kNext = 1 - kWhich;
    codes_[kNext].make_numbers(operands_[kNext]);
    load(codes_[kNext]);
  }
  /// After an odd number of steps: what comes next is the first of an even one.
  __device__ void change_places() {
#pragma unroll
    for (int s = 0; s < 4; ++s) {
#pragma unroll
      for (int i = 0; i < 4; ++i) operands_[0][s][i] = operands_[1][s][i];
    }
    const Tile first = codes_[0];
    codes_[0] = codes_[1];
    codes_[1] = first;
  }

 private:
  Steps<kTokens> ahead_;
  Tile codes_[2];
  std::uint32_t operands_[2][4][4];

  __device__ void load(Tile& tile) {
    if (!ahead_.are_left()) return;
    const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
    if (warp < ahead_.blocks()) {
      tile.template load<FromGlobal>(ahead_.weight(warp),
                                     static_cast<int>(threadIdx.x) % kWarpSize);
    }
    ahead_.go_on();
  }
};

/// Of numbers as they are, which lie in the stage.
template <typename T, int kTokens>
class Left<DenseTile<T>, kTokens> {
 public:
  __device__ explicit Left(const ManyRowsArgs&) {}

  template <int>
  __device__ void multiply(float (&sums)[kTokens / 8][4],
                           const Stages<kTokens, true>& stages) const {
    const auto* mine = stages.weight() + threadIdx.x / 128 * (kWeightBytes / 2);
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      multiply_warpgroup(T{}, sums, describe_tiles(mine, s),
                         describe_rows(stages.x(), s));
    }
  }
  template <int>
  __device__ void make_next() {}
  __device__ void change_places() {}
};

/// What two warpgroups do.
template <typename Tile, int kTokens>
__device__ void compute(const ManyRowsArgs& args,
                        StagesOf<Tile, kTokens>& stages) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int group = static_cast<int>(threadIdx.x) / 128;
  const int steps = args.tiles * args.planes;
  const int count = hopper_pieces(kTokens, args.rows, args.row_blocks);
  Left<Tile, kTokens> left(args);
  wait_for_predecessor();
  let_successor_start();
  Answers<kTokens> answers(args, stages.answers(group), group);
  for (int index = static_cast<int>(blockIdx.x); index < count;
       index += static_cast<int>(gridDim.x)) {
    answers.begin(Piece<kTokens>(args, index));
    float sums[kTokens / 8][4] = {};
    const auto take_step = [&](auto which, bool is_first) {
      stages.wait_until_full();
      begin_products();
      left.template multiply<which.value>(sums, stages);
      commit_products();
      wait_for_products<1>();
      if (!is_first) stages.empty_last(lane);
      stages.go_on();
      left.template make_next<which.value>();
    };
    for (int step = 0; step + 1 < steps; step += 2) {
      take_step(Which<0>{}, step == 0);
      take_step(Which<1>{}, false);
    }
    if (steps % 2 == 1) take_step(Which<0>{}, steps == 1);
    wait_for_products<0>();
    stages.empty_last(lane);
    if (steps % 2 == 1) left.change_places();
    answers.write(sums);
  }
}

template <typename Tile, int kTokens>
__device__ void many_rows_hopper(const ManyRowsArgs& args) {
  StagesOf<Tile, kTokens> stages;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  if (warp < kWarps) {
    take_registers<240>();
    compute<Tile>(args, stages);
  } else {
    give_registers<24>();
    if (warp == kWarps) feed<Tile>(args, stages);
  }
}

#else

template <typename Tile, int kTokens>
__device__ void many_rows_hopper(const ManyRowsArgs&) {}

#endif  // LLAMLX_HAS_WARPGROUPS

}  // namespace

#define LLAMLX_HOPPER_KERNELS(name, ...)                                      \
  LLAMLX_KERNEL(many_rows_hopper_##name##_n128, ManyRowsArgs, kHopperThreads, \
                1) {                                                          \
    many_rows_hopper<__VA_ARGS__, 128>(args);                                 \
  }                                                                           \
  LLAMLX_KERNEL(many_rows_hopper_##name##_n256, ManyRowsArgs, kHopperThreads, \
                1) {                                                          \
    many_rows_hopper<__VA_ARGS__, 256>(args);                                 \
  }

LLAMLX_FORMATS_OF_16_BITS(LLAMLX_HOPPER_KERNELS)

}  // namespace llamlx::cuda
