#include <gtest/gtest.h>

#include "cuda/matmul/matmul_testing.h"
#include "cuda/matmul/read_packed.h"

namespace llamlx::cuda {

Packed pack_weights(const std::vector<const TestWeight*>& sources,
                    bool interleaved, int experts) {
  const auto& first = *sources.front();
  Packed packed{
      first.layout, 0, first.cols, 0, ceil_div(first.cols, kTileCols), {}};
  PackArgs args{};
  for (const auto* source : sources) {
    auto view = source->view();
    view.rows /= experts;
    args.sources[args.num_sources++] = view;
    packed.rows += view.rows;
  }
  packed.row_blocks = interleaved ? ceil_div(args.sources[0].rows, 8)
                                  : ceil_div(packed.rows, kTileRows);
  packed.bytes.resize(
      static_cast<std::size_t>(experts * packed.expert_bytes() / 16));
  args.experts = experts;
  args.interleaved = interleaved ? 1 : 0;
  args.cols = first.cols;
  args.group = first.group;
  args.layout = packed.layout;
  args.row_blocks = packed.row_blocks;
  args.tiles = packed.tiles;
  args.out = reinterpret_cast<unsigned char*>(packed.bytes.data());
  const auto threads = experts * packed.row_blocks * packed.tiles * kWarpSize;
  emulate(
      "pack_weight",
      {.grid_x = static_cast<unsigned>(ceil_div(threads, 256)), .block = 256},
      args);
  return packed;
}

namespace {

class PackTest : public testing::TestWithParam<PackedLayout> {};

TEST_P(PackTest, LosesNothing) {
  std::mt19937 random(1);
  const auto& layout = GetParam();
  const int group = layout.bits == 0 ? 0 : layout.group;
  const auto w =
      random_weight(layout, group, 37, group == 64 ? 192 : 160, random);
  const auto packed = pack_weights({&w});
  for (int row = 0; row < w.rows; ++row) {
    for (int col = 0; col < w.cols; ++col) {
      const auto at = static_cast<std::size_t>(row) * w.cols + col;
      const double value =
          read_packed(packed.data(), layout, packed.tiles, row, col);
      ASSERT_NEAR(value, w.values[at], w.magnitudes[at] * 0x1p-23)
          << row << ", " << col;
    }
  }
}

/// Experts of 21 rows, which are no whole tiles: alone, and two weights that
/// take turns of 8 rows.
TEST_P(PackTest, EveryExpertIsAWeightOfItsOwn) {
  constexpr int kExperts = 3;
  constexpr int kRows = 21;
  std::mt19937 random(2);
  const auto& layout = GetParam();
  const auto gates =
      random_weight(layout, layout.group, kExperts * kRows, 128, random);
  const auto ups =
      random_weight(layout, layout.group, kExperts * kRows, 128, random);
  const auto alone = pack_weights({&gates}, false, kExperts);
  const auto turns = pack_weights({&gates, &ups}, true, kExperts);
  const auto expect = [&](const Packed& packed, int expert, int packed_row,
                          const TestWeight& w, int row) {
    for (int col = 0; col < w.cols; ++col) {
      const auto at =
          static_cast<std::size_t>(expert * kRows + row) * w.cols + col;
      const double value =
          read_packed(packed.data() + expert * packed.expert_bytes(), layout,
                      packed.tiles, packed_row, col);
      ASSERT_NEAR(value, w.values[at], w.magnitudes[at] * 0x1p-23)
          << expert << ": " << row << ", " << col;
    }
  };
  for (int expert = 0; expert < kExperts; ++expert) {
    for (int row = 0; row < kRows; ++row) {
      const int gate = row / 8 * kTileRows + row % 8;
      expect(alone, expert, row, gates, row);
      expect(turns, expert, gate, gates, row);
      expect(turns, expert, gate + 8, ups, row);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PackTest, testing::ValuesIn(all_layouts()),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

}  // namespace
}  // namespace llamlx::cuda
