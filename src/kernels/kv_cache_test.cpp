#include "kernels/kv_cache.h"

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

namespace llamlx {
namespace {

/// Rows [1, 2, count, 4] whose values are their positions.
mx::array rows(int first, int count) {
  const auto positions = mx::arange(first, first + count, 1, mx::float32);
  return mx::broadcast_to(mx::reshape(positions, {1, 1, count, 1}),
                          {1, 2, count, 4});
}

TEST(ContiguousKVCacheTest, FetchesWhatWasAppendedAcrossGrowth) {
  ContiguousKVCache cache(2, 3);
  int length = 0;
  for (const int count : {1, 255, 1, 700, 2}) {
    for (const int layer : {0, 1}) {
      cache.append(layer, rows(length, count),
                   mx::negative(rows(length, count)));
    }
    cache.advance(count);
    length += count;
    EXPECT_EQ(cache.offset(), length);
    const auto [keys, values] = cache.fetch(1);
    EXPECT_TRUE(mx::array_equal(keys, rows(0, length)).item<bool>());
    EXPECT_TRUE(
        mx::array_equal(values, mx::negative(rows(0, length))).item<bool>());
  }
}

TEST(ContiguousKVCacheTest, AppendsInPlaceWhenThereIsRoom) {
  ContiguousKVCache cache(1, 256);
  cache.append(0, rows(0, 4), rows(0, 4));
  cache.advance(4);
  mx::eval(cache.state());
  const auto* before = cache.state()[0].data<float>();
  cache.append(0, rows(4, 1), rows(4, 1));
  cache.advance(1);
  mx::eval(cache.state());
  EXPECT_EQ(cache.state()[0].data<float>(), before);
}

TEST(ContiguousKVCacheTest, HoldsKeyValueHeadsOnce) {
  ContiguousKVCache cache(1, 256);
  cache.append(0, rows(0, 1), rows(0, 1));
  EXPECT_EQ(cache.state()[0].shape(), (mx::Shape{1, 2, 256, 4}));
}

TEST(ContiguousKVCacheTest, GoesBackToAnEarlierRow) {
  ContiguousKVCache cache(1, 4);
  cache.append(0, rows(0, 5), rows(0, 5));
  cache.advance(5);
  cache.rewind(2);
  EXPECT_EQ(cache.offset(), 2);
  cache.append(0, rows(2, 1), rows(2, 1));
  cache.advance(1);
  EXPECT_TRUE(mx::array_equal(cache.fetch(0).first, rows(0, 3)).item<bool>());
  cache.rewind(0);
  EXPECT_EQ(cache.offset(), 0);
  EXPECT_THROW(cache.rewind(1), std::invalid_argument);
  EXPECT_THROW(cache.rewind(-1), std::invalid_argument);
}

}  // namespace
}  // namespace llamlx
