#include "base/cgroup.h"

#include <gtest/gtest.h>

#include "base/testing.h"

namespace llamlx {
namespace {

/// A made-up root with the files a kernel would show.
class CgroupTest : public ::testing::Test {
 protected:
  void put(const char* file, const char* text) { root_.write(file, text); }

  CgroupLimits limits() const { return cgroup_limits(root_.path()); }

  testing::TemporaryFolder root_;
};

TEST_F(CgroupTest, SaysNothingWhereThereAreNoGroups) {
  const auto found = limits();
  EXPECT_FALSE(found.cpus);
  EXPECT_FALSE(found.memory_bytes);
  EXPECT_FALSE(found.free_memory_bytes);
}

TEST_F(CgroupTest, TakesTheTightestLimitOnTheWayUpInVersion2) {
  put("proc/self/cgroup", "0::/outer/inner\n");
  put("sys/fs/cgroup/outer/cpu.max", "150000 100000\n");
  put("sys/fs/cgroup/outer/memory.max", "4000000\n");
  put("sys/fs/cgroup/outer/memory.current", "3000000\n");
  put("sys/fs/cgroup/outer/memory.stat", "anon 5\ninactive_file 1000000\n");
  put("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  put("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  const auto found = limits();
  EXPECT_EQ(found.cpus, 1.5);
  EXPECT_EQ(found.memory_bytes, 4000000u);
  EXPECT_EQ(found.free_memory_bytes, 2000000u);
}

TEST_F(CgroupTest, ReadsVersion1) {
  put("proc/self/cgroup", "5:memory:/job\n4:cpu,cpuacct:/job\n");
  put("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "50000\n");
  put("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
  put("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9000\n");
  put("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "10000\n");
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  const auto found = limits();
  EXPECT_EQ(found.cpus, 0.5);
  EXPECT_EQ(found.memory_bytes, 9000u);
  EXPECT_EQ(found.free_memory_bytes, 0u);
}

TEST_F(CgroupTest, ShrugsAtNonsense) {
  put("proc/self/cgroup", "nonsense\n0::/../../x\n::\n");
  put("sys/fs/cgroup/memory.max", "-\n");
  put("sys/fs/cgroup/cpu.max", "");
  EXPECT_FALSE(limits().cpus);
}

}  // namespace
}  // namespace llamlx
