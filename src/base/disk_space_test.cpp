#include "base/disk_space.h"

#include <gtest/gtest.h>

namespace llamlx {
namespace {

namespace fs = std::filesystem;

TEST(DiskSpaceTest, AgreesWithTheSystemForAFolder) {
  const auto here = fs::temp_directory_path();
  const auto free = free_disk_bytes(here);
  ASSERT_TRUE(free);
  const auto expected = fs::space(here).available;
  // Others write to the disk at the same time.
  EXPECT_NEAR(static_cast<double>(*free), static_cast<double>(expected), 1e9);
}

TEST(DiskSpaceTest, LooksUpwardsForPlacesThatDoNotExistYet) {
  EXPECT_TRUE(free_disk_bytes(fs::temp_directory_path() / "not" / "yet"));
  EXPECT_TRUE(free_disk_bytes("not_here_at_all"));
}

}  // namespace
}  // namespace llamlx
