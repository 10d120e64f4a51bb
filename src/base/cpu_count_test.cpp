#include "base/cpu_count.h"

#include <thread>

#include <gtest/gtest.h>
#include <sched.h>

namespace llamlx {
namespace {

TEST(CpuCountTest, PartsAreConsistent) {
  const auto count = cpu_count();
  EXPECT_GE(count.usable, 1);
  EXPECT_LE(count.usable, count.allowed);
  EXPECT_LE(count.allowed, count.online);
}

#if defined(__linux__)
TEST(CpuCountTest, FollowsTheAffinityOfTheThread) {
  CpuCount pinned;
  std::thread([&] {
    cpu_set_t mask;
    ASSERT_EQ(::sched_getaffinity(0, sizeof(mask), &mask), 0);
    int first = 0;
    while (!CPU_ISSET(first, &mask)) ++first;
    CPU_ZERO(&mask);
    CPU_SET(first, &mask);
    ASSERT_EQ(::sched_setaffinity(0, sizeof(mask), &mask), 0);
    pinned = cpu_count();
  }).join();
  EXPECT_EQ(pinned.allowed, 1);
  EXPECT_EQ(pinned.usable, 1);
}
#endif

}  // namespace
}  // namespace llamlx
