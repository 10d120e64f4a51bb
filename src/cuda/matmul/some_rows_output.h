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
    const int all = S::kRows * (cols_ / 4);
#pragma unroll 1
    for (int i = Slices::first(); i < all; i += Slices::step()) {
      const auto quad = static_cast<unsigned>(i);
      // No division: the numbers of both are known when this is compiled.
      const auto row = is_gated_ ? quad / kGatedQuads : quad / kQuads;
      const auto at = is_gated_ ? quad % kGatedQuads : quad % kQuads;
      write(static_cast<int>(row), static_cast<int>(at) * 4);
    }
    Slices::leave();
  }

 private:
  static constexpr int kQuads = kRowsOfWeight / 4;  // of a row of the output
  static constexpr int kGatedQuads = kQuads / 2;

  /// Four columns of a row of the output.
  struct Quad {
    int row;
    int at;  // which of the block's columns is the first
    int col;
    float* out;    // null: it is not written
    bool is_word;  // it may be read and written as 16 bytes
  };

  __device__ Quad quad_of(int row, int at) const {
    Quad quad{row, at, static_cast<int>(blockIdx.x) * cols_ + at, nullptr,
              false};
    if (args_.out == nullptr) return quad;
    quad.out =
        args_.out + static_cast<long long>(row) * args_.out_stride + quad.col;
    quad.is_word = (args_.out_stride & 3) == 0 && quad.col + 4 <= out_cols_;
    return quad;
  }

  /// By a whole warp, which has 128 columns of a row or 64 of two. All that
  /// comes from memory is asked for before anything of it is used.
  __device__ void write(int row, int at) const {
    const auto quad = quad_of(row, at);
    const bool is_there = row < args_.rows && quad.col < out_cols_;
    const bool has_next = next_.stages.bytes != nullptr;
    Floats4 before{};
    Floats4 norm{};
    if (is_there && args_.output == Output::add) before = load_out(quad);
    if (has_next) norm = load_norm(next_.norm, quad.col, out_cols_);
    Floats4 y{};
    if (is_there) {
      y = is_gated_ ? gated(quad) : plain(quad, before);
      if (quad.out != nullptr) store(quad, y);
    }
    if (has_next) make_operands(quad, y, norm);
  }

  /// Products from row `n` of the weight on, that lie at `at`.
  __device__ Floats4 values(int row, int at, int n) const {
    Floats4 bias{};
    if (args_.bias != nullptr) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (n + j < args_.out_rows) bias.f[j] = args_.bias[n + j];
      }
    }
    auto y = Slices::load(products_ + row * kStride + at);
    const float scale = scales_[row];
#pragma unroll
    for (int j = 0; j < 4; ++j) y.f[j] = y.f[j] * scale + bias.f[j];
    return y;
  }
  __device__ Floats4 none_past_end(const Quad& quad, Floats4 y) const {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      y.f[j] = quad.col + j < out_cols_ ? y.f[j] : 0;
    }
    return y;
  }

  __device__ Floats4 plain(const Quad& quad, const Floats4& before) const {
    auto y = values(quad.row, quad.at, quad.col);
#pragma unroll
    for (int j = 0; j < 4; ++j) y.f[j] += before.f[j];
    return none_past_end(quad, y);
  }

  /// Of the weight's rows 8 gates and the 8 they meet take turns.
  __device__ Floats4 gated(const Quad& quad) const {
    const int place = place_of_gate(quad.at);
    const int n = place_of_gate(quad.col);
    auto y = values(quad.row, place, n);
    const auto ups = values(quad.row, place + 8, n + 8);
#pragma unroll
    for (int j = 0; j < 4; ++j) y.f[j] = silu(y.f[j]) * ups.f[j];
    return none_past_end(quad, y);
  }
  static __device__ int place_of_gate(int col) { return col + (col & ~7); }

  __device__ Floats4 load_out(const Quad& quad) const {
    if (quad.is_word) {
      return load_fresh(reinterpret_cast<const Floats4*>(quad.out));
    }
    Floats4 y{};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (quad.col + j < out_cols_) y.f[j] = load_fresh(quad.out + j);
    }
    return y;
  }
  __device__ void store(const Quad& quad, const Floats4& y) const {
    if (quad.is_word) {
      *reinterpret_cast<Floats4*>(quad.out) = y;
      return;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (quad.col + j < out_cols_) quad.out[j] = y.f[j];
    }
  }

  __device__ void make_operands(const Quad& quad, Floats4 y,
                                const Floats4& norm) const {
    if (next_.squares != nullptr) write_squares(quad, y);
#pragma unroll
    for (int j = 0; j < 4; ++j) y.f[j] *= norm.f[j];
    // What is known of the stages when this is compiled need not be computed.
    const auto& stage = next_.stages.stage;
    const Stages stages{{S::kRows, stage.planes, stage.group, S::kOrder},
                        next_.stages.bytes};
    write_quad<typename S::Operand>(stages, quad.row, quad.col, true, y);
  }
  __device__ void write_squares(const Quad& quad, const Floats4& y) const {
    float squares = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) squares += y.f[j] * y.f[j];
#pragma unroll
    for (int step = 1; step < kGatedQuads; step *= 2) {
      squares += __shfl_xor_sync(kAllLanes, squares, step);
    }
    const float others = __shfl_xor_sync(kAllLanes, squares, kGatedQuads);
    if (!is_gated_) squares += others;
    if (quad.at != 0) return;
    next_.squares[static_cast<int>(blockIdx.x) * S::kRows + quad.row] = squares;
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
