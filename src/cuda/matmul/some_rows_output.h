#pragma once

#include "cuda/matmul/some_rows_block.h"
#include "cuda/matmul/stage_quad.h"

namespace llamlx::cuda {

/// How slices become one: in memory, by the block that comes last.
template <typename S>
struct SlicesInMemory {
  /// Adds up what all slices have; whether this block is to write it.
  static __device__ bool add(const SomeRowsArgs& args, const Space<S>& space,
                             typename S::Sums& acc) {
    const int slices = static_cast<int>(gridDim.y);
    if (slices == 1) return true;
    const auto part_of = [&](int slice, int n) {
      const auto group = static_cast<long long>(slice) * gridDim.x + blockIdx.x;
      return reinterpret_cast<Floats4*>(args.parts) +
             (group * S::kColumns + n) * kSomeRowsThreads + threadIdx.x;
    };
#pragma unroll
    for (int n = 0; n < S::kColumns; ++n) {
      *part_of(static_cast<int>(blockIdx.y),
               n) = {{acc[n][0], acc[n][1], acc[n][2], acc[n][3]}};
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      auto* counter = args.counters + blockIdx.x;
      *space.is_last = count_arrival(counter) + 1 == gridDim.y ? 1 : 0;
      if (*space.is_last != 0) *counter = 0;
    }
    __syncthreads();
    if (*space.is_last == 0) return false;
#pragma unroll
    for (int n = 0; n < S::kColumns; ++n) {
      Floats4 sum{};
#pragma unroll 4
      for (int slice = 0; slice < slices; ++slice) {
        const auto its = load_fresh(part_of(slice, n));
#pragma unroll
        for (int j = 0; j < 4; ++j) sum.f[j] += its.f[j];
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) acc[n][j] = sum.f[j];
    }
    return true;
  }
  /// Which of the answers a thread writes: this, and every step()th after.
  static __device__ int first() { return static_cast<int>(threadIdx.x); }
  static __device__ int step() { return kSomeRowsThreads; }
  /// Four sums in shared memory, after all meet.
  static __device__ Floats4 load(const float* p) {
    return *reinterpret_cast<const Floats4*>(p);
  }
  static __device__ void meet() { __syncthreads(); }
  static __device__ void leave() {}
};

/// Finishes a block's products, four columns of a row at a time. The code is
/// run once by each warp, so it is kept short: what is not in the cache of
/// instructions takes longer to come than to run.
template <typename S, typename Slices>
class ProductWriter {
 public:
  static constexpr int kRowsOfWeight = kSomeRowsWarps * kTileRows;
  /// From row to row of the products in shared memory: padded, so that the
  /// lanes of a warp write to all banks.
  static constexpr int kStride = kRowsOfWeight + 4;
  static_assert(kStride * 4 <=
                some_rows_x_stages(S::kColumns) * OperandStage::kCols * 2);

  __device__ ProductWriter(const SomeRowsArgs& args, const Space<S>& space)
      : args_(args.products),
        next_(args.next),
        products_(reinterpret_cast<float*>(space.x)),
        scales_(space.scales),
        is_gated_(args_.output == Output::swiglu),
        cols_(is_gated_ ? kRowsOfWeight / 2 : kRowsOfWeight),
        out_cols_(is_gated_ ? args_.out_rows / 2 : args_.out_rows) {}

  __device__ void run(const Part& part, const typename S::Sums& acc) const {
    __syncthreads();  // all are done with x
#pragma unroll
    for (int n = 0; n < S::kColumns; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        products_[(n * 8 + part.lane % 4 * 2 + i % 2) * kStride +
                  part.warp * kTileRows + part.lane / 4 + i / 2 * 8] =
            acc[n][i];
      }
    }
    Slices::meet();
    const int quads = cols_ / 4;
#pragma unroll 1
    for (int i = Slices::first(); i < S::kRows * quads; i += Slices::step()) {
      write(i / quads, i % quads * 4);
    }
    Slices::leave();
  }

 private:
  /// By a whole warp, which has 128 columns of a row or 64 of two.
  __device__ void write(int row, int at) const {
    const int col = static_cast<int>(blockIdx.x) * cols_ + at;
    Floats4 y{};
    if (row < args_.rows && col < out_cols_) {
      y = is_gated_ ? gated(row, at, col) : plain(row, at, col);
      if (args_.out != nullptr) store(row, col, y);
    }
    if (next_.stages.bytes != nullptr) make_operands(row, at, col, y);
  }

  __device__ Floats4 load(int row, int at) const {
    return Slices::load(products_ + row * kStride + at);
  }
  __device__ float value(int row, int n, float product) const {
    const bool is_biased = args_.bias != nullptr && n < args_.out_rows;
    return product * scales_[row] + (is_biased ? args_.bias[n] : 0);
  }

  __device__ Floats4 plain(int row, int at, int col) const {
    const auto products = load(row, at);
    const auto before =
        args_.output == Output::add ? load_out(row, col) : Floats4{};
    Floats4 y{};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (col + j >= out_cols_) continue;
      y.f[j] = value(row, col + j, products.f[j]) + before.f[j];
    }
    return y;
  }

  /// Of the weight's rows 8 gates and the 8 they meet take turns.
  __device__ Floats4 gated(int row, int at, int col) const {
    const int place = at / 8 * kTileRows + at % 8;
    const int n = col / 8 * kTileRows + col % 8;
    const auto gates = load(row, place);
    const auto ups = load(row, place + 8);
    Floats4 y{};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (col + j >= out_cols_) continue;
      y.f[j] =
          silu(value(row, n + j, gates.f[j])) * value(row, n + j + 8, ups.f[j]);
    }
    return y;
  }

  __device__ float* out(int row, int col) const {
    return args_.out + static_cast<long long>(row) * args_.out_stride + col;
  }
  /// Whether four columns are one word of 16 bytes.
  __device__ bool is_word(int col) const {
    return args_.out_stride % 4 == 0 && col + 4 <= out_cols_;
  }
  __device__ Floats4 load_out(int row, int col) const {
    const float* from = out(row, col);
    if (is_word(col)) return load_fresh(reinterpret_cast<const Floats4*>(from));
    Floats4 y{};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (col + j < out_cols_) y.f[j] = load_fresh(from + j);
    }
    return y;
  }
  __device__ void store(int row, int col, const Floats4& y) const {
    float* to = out(row, col);
    if (is_word(col)) {
      *reinterpret_cast<Floats4*>(to) = y;
      return;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (col + j < out_cols_) to[j] = y.f[j];
    }
  }

  __device__ void make_operands(int row, int at, int col, Floats4 y) const {
    if (next_.squares != nullptr) {
      float squares = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j) squares += y.f[j] * y.f[j];
      for (int step = 1; step < cols_ / 4; step *= 2) {
        squares += __shfl_xor_sync(kAllLanes, squares, step);
      }
      if (at == 0) {
        next_.squares[static_cast<int>(blockIdx.x) * S::kRows + row] = squares;
      }
    }
    const auto weights = load_norm(next_.norm, col, out_cols_);
#pragma unroll
    for (int j = 0; j < 4; ++j) y.f[j] *= weights.f[j];
    write_quad<typename S::Operand>(next_.stages, row, col, true, y);
  }

  const ManyRowsArgs& args_;
  const NextOperands& next_;
  float* products_;  // [S::kRows, kStride]
  const float* scales_;
  bool is_gated_;
  int cols_;  // of the output, of a block
  int out_cols_;
};

/// The kernels. `Products<S>::add` adds to sums the products of a slice;
/// `memory` is the block's, aligned as these want it.
template <typename S, template <typename> typename Products,
          template <typename> typename Slices>
__device__ void some_rows(const SomeRowsArgs& args, unsigned char* memory) {
  const Part part(args);
  const Space<S> space(args, memory);
  Chunks<S> chunks(args, space, part);
  XStages stages(
      space.x, Space<S>::kXStages, space.stage.bytes(),
      space.barriers + Space<S>::kWeightStages,
      reinterpret_cast<const unsigned char*>(args.products.x) +
          static_cast<long long>(blockIdx.y) * args.slice * space.stage.bytes(),
      operand_stages(part.tiles));
  __syncthreads();
  wait_for_predecessor();
  let_successor_start();
  for (int i = 0; i < Space<S>::kXStages - 1; ++i) stages.ask();
  make_scales<S>(args, part, space.scales);
  typename S::Sums acc = {};
  Products<S>::add(args, part, space.stage, chunks, stages, acc);
  if (Slices<S>::add(args, space, acc)) {
    ProductWriter<S, Slices<S>>(args, space).run(part, acc);
  }
}

}  // namespace llamlx::cuda
