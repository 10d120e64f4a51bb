#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/kernel.h"
#include "cuda/matmul/expand.h"
#include "cuda/matmul/many_rows_hopper.h"
#include "cuda/matmul/matmul_testing.h"
#include "cuda/matmul/operands.h"
#include "cuda/matmul/some_rows.h"
#include "cuda/matmul/stages_testing.h"
#include "cuda/testing.h"

// Products of several rows by any of the kernels, against float64. Only
// *_test.cpp files include this.
namespace llamlx::cuda {

/// The weight as numbers of 16 bits.
inline Packed expanded(Packed w) {
  if (w.layout.bits == 0) return w;
  Packed dense = w;
  dense.layout = {w.layout.is_affine() ? NumberType::f16 : NumberType::bf16, 0,
                  0};
  const auto tiles = static_cast<std::size_t>(w.row_blocks) * w.tiles;
  dense.bytes.assign(tiles * tile_bytes(dense.layout) / 16,
                     {{~0U, ~0U, ~0U, ~0U}});
  const ExpandArgs args{w.data(), static_cast<long long>(tiles),
                        reinterpret_cast<unsigned char*>(dense.bytes.data())};
  emulate("expand_" + to_string(w.layout),
          {.grid_x = static_cast<unsigned>(
               ceil_div(static_cast<int>(tiles) * kWarpSize, kExpandThreads)),
           .block = kExpandThreads},
          args);
  return dense;
}

/// What is multiplied, and by what: many_rows unless said otherwise.
struct ProductCase {
  /// Stages of a slice of some_rows; 0: by many_rows.
  int slice = 0;
  /// What multiplies slices: some_rows, some_rows_hopper, some_rows_bf16.
  std::string some = "some_rows";
  /// Rows of x that many_rows_hopper takes at a time; 0: not by it.
  int tokens = 0;
  PackedLayout layout{};
  int rows = 0;  ///< of x
  int weight_rows = 0;
  int cols = 0;
  int planes = 1;
  bool is_normed = false;
  Output output = Output::store;
};

inline constexpr float kProductEps = 1e-5F;

/// `operands` are those that products of `width` columns are, for the next.
inline void expect_next(TestStages& operands, bool is_bf16,
                        const ManyRowsArgs& products,
                        const std::vector<float>& norm, int width) {
  const auto rows = static_cast<std::size_t>(operands.stage.rows);
  for (int row = 0; row < operands.stage.rows; ++row) {
    double squares = 0;
    expect_row(operands, is_bf16, row, width, [&](int col) {
      if (row >= products.rows) return 0.0;
      const double y = products.out[row * products.out_stride + col];
      squares += y * y;
      return y * norm[static_cast<std::size_t>(col)];
    });
    double found = 0;
    for (std::size_t at = static_cast<std::size_t>(row);
         at < operands.squares.size(); at += rows) {
      found += operands.squares[at];
    }
    ASSERT_NEAR(found, squares, squares * 0x1p-18) << row;
  }
}

inline OperandStage stage_of(const ProductCase& c, const PackedLayout& layout) {
  const int columns = some_rows_columns(c.rows);
  if (c.some == "some_rows_bf16") return some_rows_bf16_stage(columns);
  return some_rows_stage(
      layout, columns, c.planes,
      c.some == "some_rows" ? OperandOrder::rows : OperandOrder::fragments);
}

/// By warpgroups on the GPU, whose matrix unit the emulator does not have:
/// `args` of arrays of the machine.
inline void launch_some(const std::string& module, const std::string& name,
                        const EmulatedShape& grid, SomeRowsArgs args,
                        const Packed& w, const TestStages& x, TestStages& next,
                        std::vector<Words4>& parts,
                        std::vector<unsigned>& counters) {
  Stream stream;
  const auto copy = [&]<typename T>(T*& data, std::size_t count) {
    std::vector<std::remove_const_t<T>> values(count);
    if (data != nullptr) std::copy_n(data, count, values.begin());
    auto gpu = copy_to_gpu(stream, values);
    if (data != nullptr) data = gpu.template as<T>();
    return gpu;
  };
  auto& products = args.products;
  const auto rows = static_cast<std::size_t>(products.rows);
  const auto outs = rows * products.out_stride;
  auto* const host_out = products.out;
  const auto weight = copy(products.weight, w.bytes.size() * 16);
  const auto operands = copy(products.x, x.bytes.size() * 8);
  const auto bias = copy(products.bias, products.out_rows);
  const auto out = copy(products.out, outs);
  const auto squares = copy(args.norm.squares, x.squares.size());
  const auto norm = copy(args.next.norm, (products.out_stride + 3) / 4 * 4);
  const auto stages = copy(args.next.stages.bytes, next.bytes.size() * 16);
  const auto sums = copy(args.next.squares, next.squares.size());
  const auto slices = copy(args.parts, parts.size() * 4);
  const auto counts = copy(args.counters, counters.size());
  launch(stream, cuda_kernel("matmul/" + module, name),
         {.grid_x = grid.grid_x,
          .grid_y = grid.grid_y,
          .block = grid.block,
          .shared_bytes = grid.shared_bytes,
          .is_cluster = true},
         args);
  download(stream, host_out, out.data(), out.bytes());
  download(stream, next.bytes.data(), stages.data(), stages.bytes());
  download(stream, next.squares.data(), sums.data(), sums.bytes());
  download(stream, counters.data(), counts.data(), counts.bytes());
  stream.synchronize();
}

/// By some_rows, which also makes operands of what it writes.
inline void multiply_slices(const ProductCase& c, const Packed& w,
                            const ManyRowsArgs& products, const TestStages& x,
                            const LateNorm& late, bool is_bf16) {
  const int slice = c.slice;
  const int width = c.weight_rows;
  const int columns = some_rows_columns(products.rows);
  const auto groups = static_cast<unsigned>(some_rows_groups(w.row_blocks));
  const int slices = ceil_div(operand_stages(w.tiles), slice);
  const auto bytes = some_rows_parts_bytes(w.row_blocks, columns, slices);
  std::vector<Words4> parts(bytes / 16, {{~0U, ~0U, ~0U, ~0U}});
  std::vector<unsigned> counters(groups);
  std::mt19937 random(9);
  std::normal_distribution<float> normal;
  // Norms have multiples of 4 columns, as what they are taken of.
  std::vector<float> norm(static_cast<std::size_t>(ceil_div(width, 4) * 4));
  for (auto& weight : norm) weight = normal(random);
  TestStages next(stage_of(c, w.layout), ceil_div(width, kTileCols));
  next.squares.resize(static_cast<std::size_t>(groups) * 8 * columns);
  const auto shared = some_rows_shared_bytes(w.layout, stage_of(c, w.layout));
  const EmulatedShape grid{.grid_x = groups,
                           .grid_y = static_cast<unsigned>(slices),
                           .block = kSomeRowsThreads,
                           .shared_bytes = static_cast<unsigned>(shared)};
  const SomeRowsArgs args{products,
                          late,
                          {next.view(), norm.data(), next.squares.data()},
                          slice,
                          reinterpret_cast<float*>(parts.data()),
                          counters.data()};
  const auto suffix = to_string(w.layout) + "_n" + std::to_string(columns);
  const auto name = c.some + "_" + suffix;
  if (c.some == "some_rows") {
    emulate(name, grid, args);
  } else {
    launch_some(c.some, name, grid, args, w, x, next, parts, counters);
  }
  expect_next(next, is_bf16, products, norm, width);
  EXPECT_EQ(counters, std::vector<unsigned>(groups));
}

inline OperandOrder order_for(const ProductCase& c) {
  if (c.tokens == 0) return OperandOrder::rows;
  return c.layout.bits == 0 ? OperandOrder::tiles : OperandOrder::fragments;
}

/// On the GPU, whose matrix unit the emulator does not have: `args` of arrays
/// of the machine.
inline void multiply_by_warpgroups(const ProductCase& c, ManyRowsArgs args,
                                   const Packed& w,
                                   const std::vector<Words4>& x,
                                   const std::vector<float>& scales,
                                   const std::vector<float>& bias,
                                   std::vector<float>& out) {
  Stream stream;
  const auto weight = copy_to_gpu(stream, w.bytes);
  const auto operands = copy_to_gpu(stream, x);
  const auto their_scales = copy_to_gpu(stream, scales);
  const auto their_bias = copy_to_gpu(stream, bias);
  const auto answers = copy_to_gpu(stream, out);
  args.weight = weight.as<unsigned char>();
  args.x = operands.as<std::uint16_t>();
  args.scales = their_scales.as<float>();
  if (args.bias != nullptr) args.bias = their_bias.as<float>();
  args.out = answers.as<float>();
  const bool is_dense = w.layout.bits == 0;
  const auto& kernel = cuda_kernel("matmul/many_rows_hopper",
                                   "many_rows_hopper_" + to_string(w.layout) +
                                       "_n" + std::to_string(c.tokens));
  const LaunchShape shape{
      .grid_x = hopper_blocks(c.tokens, c.rows, w.row_blocks, 3),
      .block = kHopperThreads,
      .shared_bytes =
          static_cast<unsigned>(hopper_shared_bytes(c.tokens, is_dense))};
  launch(stream, kernel, shape, args);
  download(stream, out.data(), answers.data(), answers.bytes());
  stream.synchronize();
  if (c.output != Output::swiglu || c.weight_rows % kTileCols != 0) return;
  std::vector<std::uint16_t> handed(out.size(), 0xffff);
  const auto next = copy_to_gpu(stream, handed);
  args.out = nullptr;
  args.operands = next.as<std::uint16_t>();
  launch(stream, kernel, shape, args);
  download(stream, handed.data(), next.data(), next.bytes());
  stream.synchronize();
  expect_handed(handed, out, c.rows, c.weight_rows);
}

/// What a product is, and how far off a kernel may be.
struct ProductSum {
  double value = 0;
  double error = 0;
};

/// What operands and numbers of a weight are rounded by; 0: not at all.
struct ProductRounding {
  double x;
  double weight;
};

/// Row `n` of a weight times x [cols], normed if there is a `norm`. x is
/// rounded as `by` says, and so are an affine weight's numbers (and by 2^-25
/// where they are very small); a sum of float32 adds at most 2^-23 of what is
/// summed.
inline ProductSum product_of(const TestWeight& of, int n, const float* x,
                             const float* norm, const ProductRounding& by) {
  double squares = 0;
  for (int k = 0; k < of.cols; ++k) squares += double{x[k]} * x[k];
  const double scale =
      norm == nullptr ? 1 : 1 / std::sqrt(squares / of.cols + kProductEps);
  ProductSum sum;
  for (int k = 0; k < of.cols; ++k) {
    const auto at = static_cast<std::size_t>(n) * of.cols + k;
    const double v = x[k] * scale * (norm == nullptr ? 1.0F : norm[k]);
    sum.value += v * of.values[at];
    sum.error +=
        std::abs(v) * of.magnitudes[at] * (by.x + (of.cols + 16) * 0x1p-23);
    if (by.weight == 0) continue;
    sum.error += std::abs(v) * (std::abs(of.values[at]) * by.weight + 0x1p-25);
  }
  return sum;
}

/// silu(gate) * up. silu's slope is at most 1.1; exp of float32 is good to
/// 2^-21.
inline ProductSum gated(const ProductSum& gate, const ProductSum& up) {
  const double silu = gate.value / (1 + std::exp(-gate.value));
  return {silu * up.value,
          1.1 * gate.error * (std::abs(up.value) + up.error) +
              std::abs(silu) * (up.error + 0x1p-20 * std::abs(up.value))};
}

/// A case's numbers, what the kernels make of them and what they should.
class ProductCheck {
 public:
  explicit ProductCheck(const ProductCase& c)
      : c_(c),
        w_(make_weight()),
        up_(make_weight()),
        packed_(pack()),
        x_(fill(c.rows * c.cols)),
        norm_(fill(c.cols)),
        bias_(fill(2 * c.weight_rows)),
        before_(fill(c.rows * c.weight_rows)),
        out_(before_),
        is_some_bf16_(c.some == "some_rows_bf16"),
        is_bf16_(is_some_bf16_ || (!packed_.layout.is_affine() &&
                                   packed_.layout.type == NumberType::bf16)) {}

  void run() {
    if (c_.slice > 0) {
      multiply_by_some();
    } else {
      multiply_by_many();
    }
    for (int row = 0; row < c_.rows; ++row) {
      for (int n = 0; n < c_.weight_rows; ++n) {
        expect_near(row, n);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }

 private:
  const ProductCase& c_;
  std::mt19937 random_{1};
  TestWeight w_;
  TestWeight up_;
  Packed packed_;
  std::vector<float> x_;
  std::vector<float> norm_;
  std::vector<float> bias_;
  std::vector<float> before_;
  std::vector<float> out_;
  bool is_some_bf16_;
  bool is_bf16_;

  bool is_gated() const { return c_.output == Output::swiglu; }
  std::string type() const { return is_bf16_ ? "bf16" : "f16"; }
  const float* norm() const { return c_.is_normed ? norm_.data() : nullptr; }

  std::vector<float> fill(int count) {
    std::normal_distribution<float> normal;
    std::vector<float> v(static_cast<std::size_t>(count));
    for (auto& x : v) x = normal(random_);
    return v;
  }
  TestWeight make_weight() {
    return random_weight(c_.layout, c_.layout.group, c_.weight_rows, c_.cols,
                         random_);
  }
  Packed pack() const {
    auto as_it_is =
        is_gated() ? pack_weights({&w_, &up_}, true) : pack_weights({&w_});
    return c_.slice > 0 || c_.tokens > 0 ? as_it_is : expanded(as_it_is);
  }

  ManyRowsArgs args() {
    return {packed_.data(), packed_.row_blocks,
            packed_.tiles,  nullptr,
            nullptr,        c_.rows,
            c_.planes,      is_gated() ? nullptr : bias_.data(),
            out_.data(),    packed_.rows,
            c_.weight_rows, c_.output};
  }

  void multiply_by_some() {
    const int columns = some_rows_columns(c_.rows);
    TestStages stages(stage_of(c_, c_.layout), packed_.tiles);
    stages.squares.resize(static_cast<std::size_t>(8) * columns);
    auto* squares = c_.is_normed ? stages.squares.data() : nullptr;
    emulate("make_stages_" + type(),
            {.grid_x = static_cast<unsigned>(8 * columns),
             .block = kStageThreads,
             .shared_bytes = 256},
            StageArgs{x_.data(), c_.rows, c_.cols, packed_.tiles, norm(),
                      stages.view(), squares});
    auto products = args();
    products.x = reinterpret_cast<const std::uint16_t*>(stages.bytes.data());
    multiply_slices(c_, packed_, products, stages,
                    {squares, 1, c_.cols, kProductEps}, is_bf16_);
  }

  void multiply_by_many() {
    const int stride = packed_.tiles * kTileCols;
    std::vector<Words4> operands(
        static_cast<std::size_t>(c_.planes * c_.rows * stride) / 8,
        {{~0U, ~0U, ~0U, ~0U}});
    std::vector<float> scales(static_cast<std::size_t>(c_.rows));
    auto* numbers = reinterpret_cast<std::uint16_t*>(operands.data());
    emulate(
        "make_operands_" + type(),
        {.grid_x = static_cast<unsigned>(c_.rows),
         .block = kOperandThreads,
         .shared_bytes = 256},
        OperandArgs{x_.data(), c_.rows, c_.cols, stride, norm(), kProductEps,
                    c_.planes, order_for(c_), numbers, scales.data()});
    auto products = args();
    products.x = numbers;
    products.scales = scales.data();
    if (c_.tokens > 0) {
      return multiply_by_warpgroups(c_, products, packed_, operands, scales,
                                    bias_, out_);
    }
    emulate(
        "many_rows_" + type(),
        {.grid_x = static_cast<unsigned>(ceil_div(c_.rows, kManyRowsTokens)),
         .grid_y = static_cast<unsigned>(
             ceil_div(packed_.row_blocks, kManyRowsBlock / kTileRows)),
         .block = kManyRowsThreads,
         .shared_bytes = kManyRowsSharedBytes},
        products);
  }

  /// Numbers of 16 bits are good to u = 2^-11 (bf16: 2^-8), and x is made of
  /// `planes`; codes are whole, but where they become numbers of float16, or
  /// bfloat16.
  ProductSum product(const TestWeight& of, int n, int row) const {
    const double u = std::pow(is_bf16_ ? 0x1p-8 : 0x1p-11, c_.planes);
    const bool is_rounded =
        c_.layout.is_affine() && (c_.slice == 0 || is_some_bf16_);
    const double weight_u = is_some_bf16_ ? 0x1p-8 : 0x1p-11;
    return product_of(of, n, &x_[static_cast<std::size_t>(row * c_.cols)],
                      norm(), {u, is_rounded ? weight_u : 0});
  }

  void expect_near(int row, int n) const {
    const auto at = static_cast<std::size_t>(row) * c_.weight_rows + n;
    auto sum = product(w_, n, row);
    if (is_gated()) {
      sum = gated(sum, product(up_, n, row));
    } else {
      sum.value += bias_[static_cast<std::size_t>(n)];
    }
    if (c_.output == Output::add) sum.value += before_[at];
    ASSERT_NEAR(out_[at], sum.value,
                sum.error + 0x1p-22 * std::abs(sum.value) + 0x1p-30)
        << "row " << row << ", output " << n;
  }
};

inline void check(const ProductCase& c) { ProductCheck(c).run(); }

}  // namespace llamlx::cuda
