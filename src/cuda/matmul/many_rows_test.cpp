#include "cuda/matmul/many_rows.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "cuda/kernel.h"
#include "cuda/matmul/expand.h"
#include "cuda/matmul/many_rows_hopper.h"
#include "cuda/matmul/matmul_testing.h"
#include "cuda/matmul/operands.h"
#include "cuda/matmul/some_rows.h"
#include "cuda/matmul/stages_testing.h"
#include "cuda/testing.h"

namespace llamlx::cuda {
namespace {

/// The weight as numbers of 16 bits.
Packed expanded(Packed w) {
  if (w.layout.bits == 0) return w;
  Packed dense = w;
  dense.layout = {NumberType::f16, 0, 0};
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

struct Case {
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

constexpr float kEps = 1e-5F;

/// `operands` are those that products of `width` columns are, for the next.
void expect_next(TestStages& operands, bool is_bf16,
                 const ManyRowsArgs& products, const std::vector<float>& norm,
                 int width) {
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

OperandStage stage_of(const Case& c, const PackedLayout& layout) {
  const int columns = some_rows_columns(c.rows);
  if (c.some == "some_rows_bf16") return some_rows_bf16_stage(columns);
  return some_rows_stage(
      layout, columns, c.planes,
      c.some == "some_rows" ? OperandOrder::rows : OperandOrder::fragments);
}

/// By warpgroups on the GPU, whose matrix unit the emulator does not have:
/// `args` of arrays of the machine.
void launch_some(const std::string& module, const std::string& name,
                 const EmulatedShape& grid, SomeRowsArgs args, const Packed& w,
                 const TestStages& x, TestStages& next,
                 std::vector<Words4>& parts, std::vector<unsigned>& counters) {
  Stream stream;
  const auto copy = [&]<typename T>(T*& data, std::size_t count) {
    std::vector<std::remove_const_t<T>> values(count);
    if (data != nullptr) std::copy_n(data, count, values.begin());
    auto gpu = llamlx::testing::copy_to_gpu(stream, values);
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
void multiply_slices(const Case& c, const Packed& w,
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

OperandOrder order_for(const Case& c) {
  if (c.tokens == 0) return OperandOrder::rows;
  return c.layout.bits == 0 ? OperandOrder::tiles : OperandOrder::fragments;
}

/// On the GPU, whose matrix unit the emulator does not have: `args` of arrays
/// of the machine.
void multiply_by_warpgroups(const Case& c, ManyRowsArgs args, const Packed& w,
                            const std::vector<Words4>& x,
                            const std::vector<float>& scales,
                            const std::vector<float>& bias,
                            std::vector<float>& out) {
  Stream stream;
  const auto weight = llamlx::testing::copy_to_gpu(stream, w.bytes);
  const auto operands = llamlx::testing::copy_to_gpu(stream, x);
  const auto their_scales = llamlx::testing::copy_to_gpu(stream, scales);
  const auto their_bias = llamlx::testing::copy_to_gpu(stream, bias);
  const auto answers = llamlx::testing::copy_to_gpu(stream, out);
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
  const auto next = llamlx::testing::copy_to_gpu(stream, handed);
  args.out = nullptr;
  args.operands = next.as<std::uint16_t>();
  launch(stream, kernel, shape, args);
  download(stream, handed.data(), next.data(), next.bytes());
  stream.synchronize();
  expect_handed(handed, out, c.rows, c.weight_rows);
}

void check(const Case& c) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const auto fill = [&](int count) {
    std::vector<float> v(static_cast<std::size_t>(count));
    for (auto& x : v) x = normal(random);
    return v;
  };
  const bool is_gated = c.output == Output::swiglu;
  const auto make_weight = [&] {
    return random_weight(c.layout, c.layout.group, c.weight_rows, c.cols,
                         random);
  };
  const auto w = make_weight();
  const auto up = make_weight();
  const auto as_it_is =
      is_gated ? pack_weights({&w, &up}, true) : pack_weights({&w});
  const auto packed =
      c.slice > 0 || c.tokens > 0 ? as_it_is : expanded(as_it_is);
  const auto x = fill(c.rows * c.cols);
  const auto norm = fill(c.cols);
  const auto bias = fill(2 * c.weight_rows);
  const auto before = fill(c.rows * c.weight_rows);
  auto out = before;

  const bool is_some_bf16 = c.some == "some_rows_bf16";
  const bool is_bf16 = is_some_bf16 || (packed.layout.bits == 0 &&
                                        packed.layout.type == NumberType::bf16);
  const std::string type = is_bf16 ? "bf16" : "f16";
  const auto* norm_data = c.is_normed ? norm.data() : nullptr;
  ManyRowsArgs args{packed.data(), packed.row_blocks,
                    packed.tiles,  nullptr,
                    nullptr,       c.rows,
                    c.planes,      is_gated ? nullptr : bias.data(),
                    out.data(),    packed.rows,
                    c.weight_rows, c.output};
  if (c.slice > 0) {
    const int columns = some_rows_columns(c.rows);
    TestStages stages(stage_of(c, c.layout), packed.tiles);
    stages.squares.resize(static_cast<std::size_t>(8) * columns);
    auto* squares = c.is_normed ? stages.squares.data() : nullptr;
    emulate("make_stages_" + type,
            {.grid_x = static_cast<unsigned>(8 * columns),
             .block = kStageThreads,
             .shared_bytes = 256},
            StageArgs{x.data(), c.rows, c.cols, packed.tiles, norm_data,
                      stages.view(), squares});
    args.x = reinterpret_cast<const std::uint16_t*>(stages.bytes.data());
    multiply_slices(c, packed, args, stages, {squares, 1, c.cols, kEps},
                    is_bf16);
  } else {
    const int stride = packed.tiles * kTileCols;
    std::vector<Words4> operands(
        static_cast<std::size_t>(c.planes * c.rows * stride) / 8,
        {{~0U, ~0U, ~0U, ~0U}});
    std::vector<float> scales(static_cast<std::size_t>(c.rows));
    auto* numbers = reinterpret_cast<std::uint16_t*>(operands.data());
    emulate("make_operands_" + type,
            {.grid_x = static_cast<unsigned>(c.rows),
             .block = kOperandThreads,
             .shared_bytes = 256},
            OperandArgs{x.data(), c.rows, c.cols, stride, norm_data, kEps,
                        c.planes, order_for(c), numbers, scales.data()});
    args.x = numbers;
    args.scales = scales.data();
    if (c.tokens > 0) {
      multiply_by_warpgroups(c, args, packed, operands, scales, bias, out);
    } else {
      emulate(
          "many_rows_" + type,
          {.grid_x = static_cast<unsigned>(ceil_div(c.rows, kManyRowsTokens)),
           .grid_y = static_cast<unsigned>(
               ceil_div(packed.row_blocks, kManyRowsBlock / kTileRows)),
           .block = kManyRowsThreads,
           .shared_bytes = kManyRowsSharedBytes},
          args);
    }
  }

  // x is rounded to `planes` numbers of u = 2^-11 (bf16: 2^-8), an affine
  // weight's numbers, but for slices of whole codes, to float16 (2^-11, and
  // 2^-25 where they are very small) or bfloat16 (2^-8); a sum of float32 adds
  // at most 2^-23 of what is summed.
  const double u = std::pow(is_bf16 ? 0x1p-8 : 0x1p-11, c.planes);
  const bool is_rounded = c.layout.bits != 0 && (c.slice == 0 || is_some_bf16);
  const double weight_u = is_some_bf16 ? 0x1p-8 : 0x1p-11;
  struct Sum {
    double value = 0;
    double error = 0;
  };
  const auto product = [&](const TestWeight& of, int n, int row) {
    double squares = 0;
    for (int k = 0; k < c.cols; ++k) {
      const double v = x[static_cast<std::size_t>(row * c.cols + k)];
      squares += v * v;
    }
    const double by = c.is_normed ? 1 / std::sqrt(squares / c.cols + kEps) : 1;
    Sum sum;
    for (int k = 0; k < c.cols; ++k) {
      const auto at = static_cast<std::size_t>(n) * c.cols + k;
      const double v = x[static_cast<std::size_t>(row * c.cols + k)] * by *
                       (c.is_normed ? norm[static_cast<std::size_t>(k)] : 1.0);
      sum.value += v * of.values[at];
      sum.error +=
          std::abs(v) * of.magnitudes[at] * (u + (c.cols + 16) * 0x1p-23) +
          (is_rounded
               ? std::abs(v) * (std::abs(of.values[at]) * weight_u + 0x1p-25)
               : 0);
    }
    return sum;
  };
  for (int row = 0; row < c.rows; ++row) {
    for (int n = 0; n < c.weight_rows; ++n) {
      const auto at = static_cast<std::size_t>(row) * c.weight_rows + n;
      auto sum = product(w, n, row);
      if (is_gated) {
        const auto gated = product(up, n, row);
        const double silu = sum.value / (1 + std::exp(-sum.value));
        sum.error =
            1.1 * sum.error * (std::abs(gated.value) + gated.error) +
            std::abs(silu) * (gated.error + 0x1p-20 * std::abs(gated.value));
        sum.value = silu * gated.value;
      } else {
        sum.value += bias[static_cast<std::size_t>(n)];
      }
      if (c.output == Output::add) sum.value += before[at];
      ASSERT_NEAR(out[at], sum.value,
                  sum.error + 0x1p-22 * std::abs(sum.value) + 0x1p-30)
          << "row " << row << ", output " << n;
    }
  }
}

TEST(ManyRows, Dense) {
  check({.layout = {NumberType::f16, 0, 0},
         .rows = 130,
         .weight_rows = 37,
         .cols = 160});
  check({.layout = {NumberType::bf16, 0, 0},
         .rows = 20,
         .weight_rows = 150,
         .cols = 416,
         .planes = 2,
         .is_normed = true,
         .output = Output::add});
}

TEST(ManyRows, Gated) {
  check({.layout = {NumberType::bf16, 0, 0},
         .rows = 9,
         .weight_rows = 70,
         .cols = 64,
         .is_normed = true,
         .output = Output::swiglu});
  check({.layout = {NumberType::f16, 4, 64},
         .rows = 9,
         .weight_rows = 70,
         .cols = 128,
         .planes = 2,
         .output = Output::swiglu});
}

TEST(SomeRows, Dense) {
  check({.slice = 3,
         .layout = {NumberType::f16, 0, 0},
         .rows = 5,
         .weight_rows = 37,
         .cols = 160});
  check({.slice = 1,
         .layout = {NumberType::bf16, 0, 0},
         .rows = 20,
         .weight_rows = 550,
         .cols = 416,
         .planes = 2,
         .is_normed = true,
         .output = Output::add});
}

TEST(SomeRows, Gated) {
  check({.slice = 1,
         .layout = {NumberType::bf16, 0, 0},
         .rows = 9,
         .weight_rows = 70,
         .cols = 192,
         .is_normed = true,
         .output = Output::swiglu});
  check({.slice = 1,
         .layout = {NumberType::bf16, 4, 64},
         .rows = 33,
         .weight_rows = 70,
         .cols = 320,
         .planes = 3,
         .output = Output::swiglu});
}

class SomeRowsTest : public ::testing::TestWithParam<PackedLayout> {};

TEST_P(SomeRowsTest, EveryFormatMultiplies) {
  for (const int rows : {3, 16, 31, 64}) {
    check({.slice = 2,
           .layout = GetParam(),
           .rows = rows,
           .weight_rows = 120 + rows,
           .cols = 832,
           .is_normed = true});
  }
}

INSTANTIATE_TEST_SUITE_P(All, SomeRowsTest,
                         ::testing::ValuesIn(layouts_of_16_bits()),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

class GpuHopperTest : public ::testing::TestWithParam<PackedLayout> {
 protected:
  void SetUp() override { llamlx::testing::skip_without_warpgroups(); }
};

/// Whole and ragged tiles, stages and clusters, and operands for the next.
void check_some(const std::string& some, const PackedLayout& layout, int rows,
                int most_planes) {
  const Case whole{.slice = 2,
                   .some = some,
                   .layout = layout,
                   .rows = rows,
                   .weight_rows = 120 + rows,
                   .cols = 832,
                   .is_normed = true};
  check(whole);
  auto ragged = whole;
  ragged.slice = 3;
  ragged.weight_rows = 37;
  ragged.cols = layout.group == 64 ? 192 : 160;
  ragged.planes = most_planes;
  ragged.output = Output::add;
  check(ragged);
  auto gated = whole;
  gated.slice = 1;
  gated.cols = 320;
  gated.planes = smaller(most_planes, 2);
  gated.output = Output::swiglu;
  check(gated);
}

TEST_P(GpuHopperTest, EveryFormatMultipliesSomeRows) {
  for (const int rows : {9, 31, 64}) {
    check_some("some_rows_hopper", GetParam(), rows, rows == 64 ? 1 : 3);
    if (!some_rows_bf16_takes(GetParam(), some_rows_columns(rows))) continue;
    check_some("some_rows_bf16", GetParam(), rows, 1);
  }
}

/// Three blocks for all pieces, odd and even numbers of steps, ragged edges.
TEST_P(GpuHopperTest, EveryFormatMultiplies) {
  for (const int tokens : {128, 256}) {
    const Case whole{.tokens = tokens,
                     .layout = GetParam(),
                     .rows = 2 * tokens,
                     .weight_rows = 160,
                     .cols = 320,
                     .is_normed = true};
    check(whole);
    auto ragged = whole;
    ragged.rows = tokens + 77;
    ragged.weight_rows = 285;
    ragged.cols = GetParam().group == 64 ? 192 : 160;
    ragged.planes = 2;
    ragged.output = Output::add;
    check(ragged);
    auto gated = whole;
    gated.rows = 90;
    gated.weight_rows = 150;
    gated.cols = 64;
    gated.output = Output::swiglu;
    check(gated);
    gated.rows = tokens + 39;
    gated.weight_rows = 192;
    check(gated);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuHopperTest,
                         ::testing::ValuesIn(layouts_of_16_bits()),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

/// Numbers that say where they come from, in every order.
TEST(Operands, LieAsTheirOrderSays) {
  constexpr int kRows = 11;
  constexpr int kCols = 160;
  constexpr int kStride = 192;
  std::vector<float> x(kRows * kCols);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 997);
  const auto make = [&](OperandOrder order) {
    std::vector<std::uint16_t> out(std::size_t{2} * kRows * kStride, 0xffff);
    std::vector<float> scales(kRows);
    emulate("make_operands_f16",
            {.grid_x = kRows, .block = kOperandThreads, .shared_bytes = 256},
            OperandArgs{x.data(), kRows, kCols, kStride, nullptr, kEps, 2,
                        order, out.data(), scales.data()});
    return out;
  };
  const auto rows = make(OperandOrder::rows);
  const auto tiles = make(OperandOrder::tiles);
  const auto fragments = make(OperandOrder::fragments);
  for (int plane = 0; plane < 2; ++plane) {
    for (int row = 0; row < kRows; ++row) {
      for (int col = 0; col < kStride; ++col) {
        const auto expected = rows[static_cast<std::size_t>(
            (plane * kRows + row) * kStride + col)];
        const auto in_tile = [&](int at) {
          const int tile = (plane * kStride / 64 + col / 64) * kRows + row;
          return static_cast<std::size_t>(tile * 64 +
                                          ((at / 8) ^ (row % 8)) * 8 + at % 8);
        };
        ASSERT_EQ(tiles[in_tile(col % 64)], expected);
        // Of 16 columns of a step, lane t of four multiplies 2 t, 2 t + 1,
        // 8 + 2 t and 9 + 2 t, where a fragment has four that follow each other
        // of 32 (s / 2) + 8 t + 4 (s % 2).
        const int step = col % 64 / 32 * 2 + col % 8 / 4;
        const int lane = col % 32 / 8;
        const int at = 16 * step + 2 * lane + col % 2 + col % 4 / 2 * 8;
        ASSERT_EQ(fragments[in_tile(at)], expected) << row << ", " << col;
      }
    }
  }
}

class ExpandTest : public ::testing::TestWithParam<PackedLayout> {};

TEST_P(ExpandTest, EveryFormatMultiplies) {
  check({.layout = GetParam(), .rows = 10, .weight_rows = 20, .cols = 128});
}

INSTANTIATE_TEST_SUITE_P(All, ExpandTest, ::testing::ValuesIn(affine_layouts()),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

}  // namespace
}  // namespace llamlx::cuda
