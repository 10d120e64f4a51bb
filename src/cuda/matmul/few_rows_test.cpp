#include "cuda/matmul/few_rows.h"

#include <cmath>
#include <functional>
#include <map>
#include <tuple>

#include <gtest/gtest.h>

#include "cuda/matmul/matmul_testing.h"

namespace llamlx::cuda {
namespace {

struct Launch {
  int rows = 1;
  int planes = 1;
  bool is_normed = false;
  bool has_bias = false;
  Output output = Output::store;
  unsigned blocks = 2;
  int share = 16;
  int stages = 2;
  int chunk = 0;  ///< 0: as many tiles as there may be
};

struct Products {
  std::vector<float> x, norm, bias, out, before;
};

constexpr float kEps = 1e-5F;

/// `odd`: an element of the second row of x, if there is one.
Products multiply(const Packed& w, const Launch& run, std::mt19937& random,
                  float odd = 1) {
  std::normal_distribution<float> normal;
  const auto fill = [&](std::vector<float>& v, int count) {
    v.resize(static_cast<std::size_t>(count));
    for (auto& x : v) x = normal(random);
  };
  const int width = run.output == Output::swiglu ? w.rows / 2 : w.rows;
  Products p;
  fill(p.x, run.rows * w.cols);
  fill(p.norm, w.cols);
  fill(p.bias, w.rows);
  fill(p.before, run.rows * width);
  // One number that is far larger than the others.
  p.x[0] = 300;
  if (run.rows > 1) p.x[static_cast<std::size_t>(w.cols) + 5] = odd;
  p.out = p.before;
  FewRowsArgs args{};
  args.weight = w.data();
  args.row_blocks = w.row_blocks;
  args.tiles = w.tiles;
  args.cols = w.cols;
  args.x = p.x.data();
  args.rows = run.rows;
  args.norm = run.is_normed ? p.norm.data() : nullptr;
  for (const float weight : p.norm) {
    args.largest_norm = std::max(args.largest_norm, std::abs(weight));
  }
  if (!run.is_normed) args.largest_norm = 1;
  args.eps = kEps;
  args.planes = run.planes;
  args.share = run.share;
  args.chunk = few_rows_chunk(tile_bytes(w.layout), w.tiles, run.share);
  args.stages = run.stages;
  if (run.chunk > 0) args.chunk = std::min(args.chunk, run.chunk);
  args.bias = run.has_bias ? p.bias.data() : nullptr;
  args.out = p.out.data();
  args.out_rows = w.rows;
  args.out_stride = width;
  args.output = run.output;
  const auto bytes = few_rows_shared_bytes(w.layout, w.tiles, run.rows,
                                           run.planes, args.chunk, args.stages);
  emulate("few_rows_" + to_string(w.layout),
          {.grid_x = std::min(run.blocks, static_cast<unsigned>(w.row_blocks)),
           .block = kFewRowsThreads,
           .shared_bytes = static_cast<unsigned>(bytes)},
          args);
  return p;
}

/// What a row of a weight times a row of x is, and how far off the kernel may
/// be: each x is rounded to `planes` numbers of u = 2^-11 (bf16: 2^-8), or at
/// worst to what float32 holds; every sum of float32 adds at most 2^-23 of what
/// is summed (units round towards zero), as do the norm's.
struct Expected {
  double value = 0;
  double error = 0;
};

Expected expect(const TestWeight& w, int weight_row, const Products& p,
                const Launch& run, int row) {
  const auto* x = p.x.data() + static_cast<std::ptrdiff_t>(row) * w.cols;
  double by = 1;
  if (run.is_normed) {
    double squares = 0;
    for (int k = 0; k < w.cols; ++k) squares += double{x[k]} * x[k];
    by = 1 / std::sqrt(squares / w.cols + kEps);
  }
  Expected result;
  double magnitude = 0;
  for (int k = 0; k < w.cols; ++k) {
    const auto at = static_cast<std::size_t>(weight_row) * w.cols + k;
    const double value = x[k] * (run.is_normed ? by * p.norm[k] : 1.0);
    result.value += value * w.values[at];
    magnitude += std::abs(value) * w.magnitudes[at];
  }
  const bool is_bf16 =
      !w.layout.is_affine() && w.layout.type == NumberType::bf16;
  const double rounding = std::pow(is_bf16 ? 0x1p-8 : 0x1p-11, run.planes);
  result.error = magnitude * (rounding + (w.cols + 16) * 0x1p-23);
  return result;
}

class FewRowsTest : public testing::TestWithParam<PackedLayout> {};

TEST_P(FewRowsTest, MultipliesAsFloat64Does) {
  std::mt19937 random(2);
  const auto& layout = GetParam();
  const bool is_wide = layout.bits == 0 && layout.type == NumberType::f32;
  const Launch runs[] = {
      {.rows = 1},
      {.rows = 1, .planes = 2, .is_normed = true, .has_bias = true},
      {.rows = 3,
       .planes = 1,
       .is_normed = true,
       .output = Output::add,
       .share = 4},
      {.rows = 8, .planes = 3, .output = Output::add, .blocks = 64, .share = 8},
  };
  int shape = 0;
  for (const auto& given : runs) {
    auto run = given;
    if (is_wide) run.planes = 1;
    // 37 rows are no whole block; 160 and 672 columns no whole tile.
    const int cols = shape++ % 2 == 0 ? 160 : 672;
    const auto w =
        random_weight(layout, layout.group, 37,
                      layout.group == 64 ? cols / 64 * 64 : cols, random);
    const auto p = multiply(pack_weights({&w}), run, random);
    for (int i = 0; i < run.rows; ++i) {
      for (int n = 0; n < w.rows; ++n) {
        auto expected = expect(w, n, p, run, i);
        const auto at = static_cast<std::size_t>(i) * w.rows + n;
        if (run.has_bias) expected.value += p.bias[n];
        if (run.output == Output::add) expected.value += p.before[at];
        ASSERT_NEAR(p.out[at], expected.value,
                    expected.error + 0x1p-22 * std::abs(expected.value))
            << "run " << shape << ", row " << i << ", output " << n;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, FewRowsTest, testing::ValuesIn(all_layouts()),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

TEST(FewRows, WeightsSideBySideAreOne) {
  std::mt19937 random(3);
  const PackedLayout layout{NumberType::bf16, 4, 64};
  const auto q = random_weight(layout, 64, 40, 128, random);
  const auto k = random_weight(layout, 64, 16, 128, random);
  const auto v = random_weight(layout, 64, 16, 128, random);
  const Launch run{.rows = 2, .is_normed = true};
  const auto packed = pack_weights({&q, &k, &v});
  const auto p = multiply(packed, run, random);
  int first = 0;
  for (const auto* w : {&q, &k, &v}) {
    for (int i = 0; i < run.rows; ++i) {
      for (int n = 0; n < w->rows; ++n) {
        const auto expected = expect(*w, n, p, run, i);
        ASSERT_NEAR(p.out[static_cast<std::size_t>(i) * 72 + first + n],
                    expected.value, expected.error);
      }
    }
    first += w->rows;
  }
}

TEST(FewRows, GatesMeetWhatTheyGate) {
  std::mt19937 random(4);
  for (const auto& layout : {PackedLayout{NumberType::f16, 4, 64},
                             PackedLayout{NumberType::bf16, 0, 0},
                             PackedLayout{NumberType::f32, 0, 0}}) {
    const auto gate = random_weight(layout, 128, 27, 256, random);
    const auto up = random_weight(layout, 128, 27, 256, random);
    const Launch run{.rows = 3, .is_normed = true, .output = Output::swiglu};
    const auto p = multiply(pack_weights({&gate, &up}, true), run, random);
    for (int i = 0; i < run.rows; ++i) {
      for (int n = 0; n < gate.rows; ++n) {
        const auto a = expect(gate, n, p, run, i);
        const auto b = expect(up, n, p, run, i);
        const double silu = a.value / (1 + std::exp(-a.value));
        // silu's slope is at most 1.1; exp of float32 is good to 2^-21.
        const double error = 1.1 * a.error * (std::abs(b.value) + b.error) +
                             (std::abs(silu) + 0x1p-20) * b.error +
                             0x1p-20 * std::abs(silu * b.value) + 0x1p-30;
        ASSERT_NEAR(p.out[static_cast<std::size_t>(i) * gate.rows + n],
                    silu * b.value, error)
            << to_string(layout) << " " << i << ", " << n;
      }
    }
  }
}

TEST(FewRows, AnyNumberOfBlocksGivesTheSameBits) {
  std::mt19937 random(5);
  const PackedLayout layout{NumberType::f16, 8, 32};
  const auto w = random_weight(layout, 32, 100, 256, random);
  const auto packed = pack_weights({&w});
  std::vector<float> first;
  for (const unsigned blocks : {1U, 2U, 3U, 7U}) {
    std::mt19937 same(6);
    const auto p = multiply(packed, {.rows = 2, .blocks = blocks}, same);
    if (first.empty()) first = p.out;
    EXPECT_EQ(p.out, first) << blocks;
  }
}

TEST(FewRows, WhatIsNotFiniteStaysInItsRow) {
  std::mt19937 random(7);
  const PackedLayout layout{NumberType::bf16, 4, 64};
  const auto w = random_weight(layout, 64, 16, 128, random);
  const auto packed = pack_weights({&w});
  const auto multiply_with = [&](float odd) {
    std::mt19937 same(8);
    return multiply(packed, {.rows = 3, .is_normed = true}, same, odd).out;
  };
  const auto plain = multiply_with(1);
  for (const float odd : {HUGE_VALF, NAN}) {
    const auto out = multiply_with(odd);
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (i / 16 == 1) {
        EXPECT_FALSE(std::isfinite(out[i])) << i;
      } else {
        EXPECT_EQ(out[i], plain[i]) << i;
      }
    }
  }
}

}  // namespace
}  // namespace llamlx::cuda
