#include "cpu/matmul/read_ahead.h"

#include <gtest/gtest.h>

namespace llamlx {
namespace {

TEST(ReadAheadTest, OneCacheAsksOnZen5) {
  const auto read = read_ahead_of(true, 26);
  EXPECT_FALSE(read.is_by_two_caches);
  EXPECT_EQ(read.bytes, 8192);
}

TEST(ReadAheadTest, TwoCachesAskElsewhere) {
  EXPECT_TRUE(read_ahead_of(true, 25).is_by_two_caches);
  EXPECT_TRUE(read_ahead_of(false, 6).is_by_two_caches);
  EXPECT_TRUE(read_ahead_of(false, 26).is_by_two_caches);
  EXPECT_TRUE(read_ahead_of(false, 0).is_by_two_caches);
}

}  // namespace
}  // namespace llamlx
