#include "cuda/matmul/float_codes.h"

#include <gtest/gtest.h>

#include "cuda/matmul/product_testing.h"
#include "cuda/matmul/read_packed.h"

namespace llamlx::cuda {
namespace {

/// A row for every scale that there may be, with every code that is a number.
TestWeight every_number(const PackedLayout& layout) {
  const int scales = layout.bits == 4 ? kNvfp4ScalesEnd : kMxfp8ScalesEnd;
  const int cols = layout.bits == 4 ? 16 : 256;
  auto w = float_weight(layout, scales, cols);
  auto* bytes = reinterpret_cast<unsigned char*>(w.scales.data());
  for (std::size_t i = 0; i < w.values.size(); ++i) {
    const auto row = i / static_cast<std::size_t>(cols);
    const auto col = static_cast<unsigned>(i) % static_cast<unsigned>(cols);
    bytes[i / static_cast<std::size_t>(layout.group)] =
        static_cast<unsigned char>(row);
    put_float(w, i, col % 128 == 127 ? 0 : col);
  }
  return w;
}

TEST(FloatCodes, HasEveryNumberToTheBit) {
  for (const auto& layout : {kNvfp4Layout, kMxfp8Layout}) {
    const auto w = every_number(layout);
    const auto packed = pack_weights({&w});
    const auto dense = expanded(packed);
    for (int row = 0; row < w.rows; ++row) {
      for (int col = 0; col < w.cols; ++col) {
        const double value =
            w.values[static_cast<std::size_t>(row * w.cols + col)];
        for (const auto* it : {&packed, &dense}) {
          ASSERT_EQ(read_packed(it->data(), it->layout, it->tiles, row, col),
                    value)
              << to_string(it->layout) << ", scale " << row << ", code " << col;
        }
      }
    }
  }
}

TEST(FloatCodes, TakesTheBytesThatAreStored) {
  EXPECT_EQ(tile_bytes(kNvfp4Layout) * 8, kTileRows * kTileCols * 9 / 2);
  EXPECT_EQ(tile_bytes(kMxfp8Layout) * 8, kTileRows * kTileCols * 33 / 4);
}

}  // namespace
}  // namespace llamlx::cuda
