#include "cuda/matmul/operands.h"
#include "cuda/matmul/row_loads.h"

namespace llamlx::cuda {
namespace {

constexpr int kWarps = kOperandThreads / kWarpSize;

/// As much of a row as a thread holds, so that it is read once: of rows of up
/// to kHeld * 4 * kOperandThreads columns all.
constexpr int kHeld = 8;

/// A thread's columns from `first` on: 4 together, and others a block's step
/// further.
struct Held {
  Floats4 quads[kHeld];

  __device__ void load(const float* x, int first, int cols) {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      quads[i] = load_row(x, first + i * 4 * kOperandThreads, cols);
    }
  }
};

/// Of a row: the sum of its squares, and the largest product with the norm.
struct Statistics {
  float squares = 0;
  float largest = 0;

  __device__ void add(const Held& held, const OperandArgs& args, int first) {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int col = first + i * 4 * kOperandThreads;
      if (col >= args.cols) break;
      const auto w = load_norm(args.norm, col, args.cols);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float v = held.quads[i].f[j];
        squares += v * v;
        largest = fmaxf(largest, fabsf(v * w.f[j]));
      }
    }
  }

  /// Those of all threads.
  __device__ void meet() {
    squares = warp_sum(squares);
    largest = warp_max(largest);
    auto* all = reinterpret_cast<float*>(shared_memory());
    const int thread = static_cast<int>(threadIdx.x);
    if (thread % kWarpSize == 0) {
      all[thread / kWarpSize] = squares;
      all[kWarps + thread / kWarpSize] = largest;
    }
    __syncthreads();
    squares = 0;
#pragma unroll
    for (int i = 0; i < kWarps; ++i) {
      squares += all[i];
      largest = fmaxf(largest, all[kWarps + i]);
    }
  }
};

/// Where four columns of a row from `col` on lie: two, and two others so many
/// numbers behind.
struct Place {
  std::uint16_t* first;
  int second;
  long long plane_step;

  __device__ Place(const OperandArgs& args, int row, int col) {
    const auto rows = static_cast<long long>(gridDim.x);
    second = 2;
    plane_step = rows * args.stride;
    first = args.out + static_cast<long long>(row) * args.stride + col;
    if (args.order == OperandOrder::warpgroups) {
      const int run = col % 64 / 32;
      const int t = col % 32 / 8;
      const int step = 2 * run + col % 8 / 4;
      first += step * 16 + 2 * t - col % 64;
      second = 8;
    } else if (args.order == OperandOrder::stages) {
      const OperandStage stage{static_cast<int>(rows), args.planes, args.group};
      plane_step = rows * OperandStage::kStride;
      first = args.out +
              static_cast<long long>(col / OperandStage::kCols) *
                  (stage.bytes() / 2) +
              row * OperandStage::kStride + col % OperandStage::kCols;
    }
  }
};

/// Where the sum of the group that begins at `col` lies.
__device__ float* place_of_sum(const OperandArgs& args, int row, int col) {
  const int rows = static_cast<int>(gridDim.x);
  const OperandStage stage{rows, args.planes, args.group};
  auto* bytes = reinterpret_cast<unsigned char*>(args.out) +
                static_cast<long long>(col / OperandStage::kCols) *
                    stage.bytes() +
                stage.sums_byte();
  return reinterpret_cast<float*>(bytes) +
         col % OperandStage::kCols / args.group * rows + row;
}

/// Four columns of a row from `col` on, as the operands they become, by a whole
/// warp; and their sums.
template <typename Operand>
__device__ void write_quad(const OperandArgs& args, int row, int col,
                           Floats4 v) {
  const bool is_there = col < args.stride;
  const Place place(args, row, col);
  const auto whole = v;
  for (int plane = 0; plane < args.planes; ++plane) {
    auto* to = place.first + plane * place.plane_step;
    const auto low = split2<Operand>(v.f[0], v.f[1]);
    const auto high = split2<Operand>(v.f[2], v.f[3]);
    if (!is_there) continue;
    *reinterpret_cast<std::uint32_t*>(to) = low;
    *reinterpret_cast<std::uint32_t*>(to + place.second) = high;
  }
  if (args.order != OperandOrder::stages || args.group == 0) return;
  float sum = 0;
#pragma unroll
  for (int j = 0; j < 4; ++j) sum += whole.f[j] - v.f[j];
  const int lanes = args.group / 4;
  for (int step = 1; step < lanes; step *= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, step);
  }
  if (is_there && col % args.group == 0) *place_of_sum(args, row, col) = sum;
}

template <typename Operand>
__device__ void make_operands(const OperandArgs& args) {
  wait_for_predecessor();
  let_successor_start();
  constexpr int kStep = kHeld * 4 * kOperandThreads;
  const int row = static_cast<int>(blockIdx.x);
  const int mine = 4 * static_cast<int>(threadIdx.x);
  const int cols = row < args.rows ? args.cols : 0;
  const auto* x = args.x + static_cast<long long>(row) * args.cols;
  Held held;
  Statistics all;
  for (int first = mine; first < cols || first == mine; first += kStep) {
    held.load(x, first, cols);
    all.add(held, args, first);
  }
  all.meet();
  const float norm =
      args.norm == nullptr
          ? 1
          : rsqrtf(all.squares / static_cast<float>(args.cols) + args.eps);
  const float range = range_scale(all.largest * norm);
  if (threadIdx.x == 0) args.scales[row] = 1 / range;
  const bool holds_all = args.stride <= kStep;
  const int lane = mine / 4 % kWarpSize;
  for (int first = mine; first - 4 * lane < args.stride; first += kStep) {
    if (!holds_all) held.load(x, first, cols);
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int col = first + i * 4 * kOperandThreads;
      if (col - 4 * lane >= args.stride) break;  // for the whole warp
      auto v = held.quads[i];
      const auto w = load_norm(args.norm, col, args.cols);
#pragma unroll
      for (int j = 0; j < 4; ++j) v.f[j] *= w.f[j] * (norm * range);
      write_quad<Operand>(args, row, col, v);
    }
  }
}

}  // namespace

LLAMLX_KERNEL(make_operands_f16, OperandArgs, kOperandThreads, 1) {
  make_operands<F16>(args);
}
LLAMLX_KERNEL(make_operands_bf16, OperandArgs, kOperandThreads, 1) {
  make_operands<Bf16>(args);
}

}  // namespace llamlx::cuda
