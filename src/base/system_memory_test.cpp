#include "base/system_memory.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

namespace llamlx {
namespace {

TEST(SystemMemoryTest, IsPlausible) {
  const auto memory = system_memory();
  EXPECT_GT(memory.total_bytes, 64u << 20);
  EXPECT_GT(memory.available_bytes, 0u);
  EXPECT_LE(memory.available_bytes, memory.total_bytes);
}

TEST(SystemMemoryTest, PeakGrowsWithWhatIsTouched) {
  constexpr std::size_t kBytes = 64 << 20;
  const auto before = peak_memory_bytes();
  EXPECT_GT(before, 1u << 20);
  {
    std::vector<char> block(kBytes);
    std::memset(block.data(), 1, block.size());
    EXPECT_GE(peak_memory_bytes(), kBytes);
  }
  // A peak stays when the memory is given back.
  EXPECT_GE(peak_memory_bytes(), kBytes);
  EXPECT_LT(peak_memory_bytes(), before + 4 * kBytes);
}

TEST(SystemMemoryTest, PeakBeginsAnewWhereTheSystemCan) {
  constexpr std::size_t kBytes = 64 << 20;
  {
    std::vector<char> block(kBytes);
    std::memset(block.data(), 1, block.size());
    EXPECT_GE(resident_memory_bytes(), kBytes);
  }
  if (!reset_peak_memory()) GTEST_SKIP() << "the system keeps the peak";
  EXPECT_LT(peak_memory_bytes(), resident_memory_bytes() + kBytes / 2);
}

}  // namespace
}  // namespace llamlx
