#include <cmath>

#include <gtest/gtest.h>

#include "cuda/matmul/matmul_testing.h"
#include "cuda/token/argmax.h"
#include "cuda/token/begin.h"

namespace llamlx::cuda {
namespace {

std::vector<int> argmax_of(const std::vector<std::vector<float>>& rows,
                           int slot) {
  std::vector<float> x;
  for (const auto& row : rows) x.insert(x.end(), row.begin(), row.end());
  const auto count = rows.size();
  std::vector<LargestValue> parts(count * kArgmaxBlocks);
  std::vector<unsigned> counters(count);
  std::vector<int> tokens(count, -9);
  std::vector<int> host(kTokenSlotRows * kTokenSlots, -9);
  const ArgmaxArgs args{x.data(),
                        static_cast<int>(rows.front().size()),
                        static_cast<int>(count),
                        parts.data(),
                        counters.data(),
                        &slot,
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
  int slot = -1;
  BeginArgs args{};
  args.segments[0] = {nullptr, 0, 100, 50, 0, 2};
  args.segments[1] = {nullptr, 0, 100, 30000, 2, 1};
  args.num_segments = 2;
  args.ids = ids.data();
  args.slot = 5;
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
  args.slot_out = &slot;
  args.cos_sin = cos_sin.data();
  args.x = x.data();
  emulate("begin_pass", {.grid_x = 3, .block = 256}, args);

  EXPECT_EQ(slot, 5);
  EXPECT_EQ(segments[1].offset, 30000);
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
