#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "cuda/matmul/matmul_testing.h"
#include "cuda/token/argmax.h"
#include "cuda/token/begin.h"

namespace llamlx::cuda {
namespace {

std::vector<int> argmax_of(const std::vector<std::vector<float>>& rows,
                           int slot, const Draw& draw = {}) {
  std::vector<float> x;
  for (const auto& row : rows) x.insert(x.end(), row.begin(), row.end());
  const auto count = rows.size();
  std::vector<LargestValue> parts(count * kArgmaxBlocks);
  std::vector<unsigned> counters(count);
  std::vector<int> tokens(count, -9);
  std::vector<int> host(kTokenSlotRows * kTokenSlots, -9);
  const Choice choice{slot, draw};
  const ArgmaxArgs args{x.data(),
                        static_cast<int>(rows.front().size()),
                        static_cast<int>(count),
                        parts.data(),
                        counters.data(),
                        &choice,
                        tokens.data(),
                        host.data()};
  emulate("argmax_rows",
          {.grid_x = kArgmaxBlocks,
           .grid_y = static_cast<unsigned>(count),
           .block = kArgmaxThreads,
           .shared_bytes = 256},
          args);
  for (std::size_t i = 0; i < host.size(); ++i) {
    const auto first = static_cast<std::size_t>(slot) * kTokenSlotRows;
    const bool is_ours = i >= first && i < first + count;
    EXPECT_EQ(host[i], is_ours ? tokens[i - first] : -9);
  }
  EXPECT_EQ(counters, std::vector<unsigned>(count, 0));
  return tokens;
}

TEST(Argmax, TakesTheFirstOfTheLargest) {
  std::vector<float> x(40000, -2);
  x[123] = 1;
  x[30000] = 1;
  auto last = x;
  last.back() = 1.5F;
  EXPECT_EQ(argmax_of({x, last}, 3), (std::vector{123, 39999}));
  EXPECT_EQ(argmax_of({{-5.0F}}, 0), (std::vector{0}));
}

TEST(Argmax, TellsOfWhatIsNotFinite) {
  const std::vector<float> fine(777, 1);
  for (const float odd : {NAN, HUGE_VALF, -HUGE_VALF}) {
    auto x = fine;
    x[700] = odd;
    EXPECT_EQ(argmax_of({fine, x, fine}, 7), (std::vector{0, -1, 0}));
  }
}

/// The known answer of the generator's authors.
TEST(Draw, IsPhilox) { EXPECT_EQ(random_bits({0, 0}, 0, 0), 0x6627e8d5U); }

TEST(Draw, FollowsTheSoftmax) {
  const float logits[] = {0, 2, -30, 4};
  constexpr int kDraws = 20000;
  double total = 0;
  for (const float x : logits) total += std::exp(x / 2.0);
  int counts[4] = {};
  for (std::uint32_t i = 0; i < kDraws; ++i) {
    const Draw draw{2, {i, 7}};
    int drawn = 0;
    float most = -HUGE_VALF;
    for (int index = 0; index < 4; ++index) {
      const float value = value_to_compare(draw, logits[index], index, 3);
      if (value > most) drawn = index;
      most = std::max(most, value);
    }
    ++counts[drawn];
  }
  for (int index = 0; index < 4; ++index) {
    // Five standard deviations of a binomial count.
    const double p = std::exp(logits[index] / 2.0) / total;
    EXPECT_NEAR(counts[index], kDraws * p,
                5 * std::sqrt(kDraws * p * (1 - p)) + 1e-3);
  }
}

TEST(Draw, IsOfEveryRowItself) {
  const std::vector<float> alike(5000, 1);
  const Draw draw{1, {3, 4}};
  const auto tokens = argmax_of({alike, alike, alike}, 2, draw);
  for (int row = 0; row < 3; ++row) {
    int expected = 0;
    float most = -HUGE_VALF;
    for (int index = 0; index < 5000; ++index) {
      const float value = value_to_compare(draw, 1, index, row);
      if (value > most) expected = index;
      most = std::max(most, value);
    }
    EXPECT_EQ(tokens[static_cast<std::size_t>(row)], expected);
  }
  EXPECT_NE(tokens[0], tokens[1]);
  auto odd = alike;
  odd[17] = NAN;
  EXPECT_EQ(argmax_of({odd}, 0, draw), std::vector{-1});
}

TEST(Draw, TakesTemperaturesOfAnyKind) {
  std::vector<float> x(300, -20);
  x[211] = 20;
  EXPECT_EQ(argmax_of({x}, 0, {1e-38F, {5, 6}}), std::vector{211});
  const Draw hot{kHighestTemperature, {5, 6}};
  const auto token = argmax_of({x}, 0, hot).front();
  EXPECT_GE(token, 0);
  EXPECT_EQ(token, argmax_of({std::vector<float>(300, 0)}, 0, hot).front());
}

TEST(BeginPass, EmbedsAndTurns) {
  std::mt19937 random(1);
  const PackedLayout layout{NumberType::f16, 4, 32};
  constexpr int kVocab = 20;
  constexpr int kHidden = 96;
  constexpr int kPairs = 3;
  const auto table = random_weight(layout, 32, kVocab, kHidden, random);
  const auto packed = pack_weights({&table});

  const std::vector<int> ids{7, -1, 0};
  const std::vector<float> periods{1, 10, 1000, 2, 20, 2000};
  std::vector<SegmentView> segments(2);
  std::vector<float> cos_sin(3 * 2 * kPairs);
  std::vector<float> x(3 * kHidden);
  Choice choice{};
  BeginArgs args{};
  args.segments[0] = {nullptr, 0, 100, 50, 0, 2};
  args.segments[1] = {nullptr, 0, 100, 20000, 2, 1};
  args.firsts[1] = 10000;
  args.num_segments = 2;
  args.ids = ids.data();
  args.choice = {5, {0.5F, {1, 2}}};
  args.table = packed.data();
  args.layout = layout;
  args.tiles = packed.tiles;
  args.vocab = kVocab;
  args.hidden = kHidden;
  args.periods = periods.data();
  args.periods_stride = kPairs;
  args.pairs = kPairs;
  args.rope_scale = 0.5F;
  args.segments_out = segments.data();
  args.choice_out = &choice;
  args.cos_sin = cos_sin.data();
  args.x = x.data();
  emulate("begin_pass", {.grid_x = 3, .block = 256}, args);

  EXPECT_EQ(choice.slot, 5);
  EXPECT_EQ(choice.draw.temperature, 0.5F);
  EXPECT_EQ(choice.draw.key[1], 2);
  EXPECT_EQ(segments[1].offset, 20000);
  const int rows[] = {7, kVocab - 1, 0};
  const double positions[] = {50, 51, 30000};
  for (int i = 0; i < 3; ++i) {
    for (int d = 0; d < kHidden; ++d) {
      const auto at = static_cast<std::size_t>(rows[i]) * kHidden + d;
      ASSERT_NEAR(x[static_cast<std::size_t>(i) * kHidden + d],
                  table.values[at], table.magnitudes[at] * 0x1p-23);
    }
    for (int p = 0; p < kPairs; ++p) {
      const double angle = positions[i] / periods[(i == 2 ? kPairs : 0) + p];
      const auto* of_row = cos_sin.data() + i * 2 * kPairs;
      EXPECT_NEAR(of_row[p], 0.5 * std::cos(angle), 0x1p-24);
      EXPECT_NEAR(of_row[kPairs + p], 0.5 * std::sin(angle), 0x1p-24);
    }
  }
}

}  // namespace
}  // namespace llamlx::cuda
