#include <gtest/gtest.h>

#include "cuda/matmul/matmul_testing.h"
#include "cuda/matmul/read_packed.h"

namespace llamlx::cuda {

Packed pack_weights(const std::vector<const TestWeight*>& sources,
                    bool interleaved) {
  const auto& first = *sources.front();
  Packed packed{
      first.layout, 0, first.cols, 0, ceil_div(first.cols, kTileCols), {}};
  PackArgs args{};
  for (const auto* source : sources) {
    args.sources[args.num_sources++] = source->view();
    packed.rows += source->rows;
  }
  packed.row_blocks =
      interleaved ? ceil_div(first.rows, 8) : ceil_div(packed.rows, kTileRows);
  packed.bytes.resize(static_cast<std::size_t>(packed.row_blocks) *
                      packed.tiles * tile_bytes(packed.layout) / 16);
  args.interleaved = interleaved ? 1 : 0;
  args.cols = first.cols;
  args.group = first.group;
  args.layout = packed.layout;
  args.row_blocks = packed.row_blocks;
  args.tiles = packed.tiles;
  args.out = reinterpret_cast<unsigned char*>(packed.bytes.data());
  const auto threads = packed.row_blocks * packed.tiles * kWarpSize;
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

INSTANTIATE_TEST_SUITE_P(All, PackTest, testing::ValuesIn(all_layouts()),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

}  // namespace
}  // namespace llamlx::cuda
