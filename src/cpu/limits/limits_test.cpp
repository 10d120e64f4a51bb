#include "cpu/limits/limits.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "cpu/limits/limit_kernels.h"

namespace llamlx {
namespace {

constexpr double kBriefly = 0.002;

TEST(LimitsTest, EveryInstructionSetAddsEveryWordUp) {
  // Powers of two apart: a word left out, or read twice, shows.
  alignas(64) std::uint64_t words[3 * kSumWords];
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i < std::size(words); ++i) {
    words[i] = (std::uint64_t{1} << (i % 50)) + 1000003 * i;
    expected += words[i];
  }
  for (const auto isa : supported_isas()) {
    EXPECT_EQ(sum_words(isa, words, std::size(words)), expected)
        << to_string(isa);
  }
}

TEST(LimitsTest, ReadsAtLeastTheBytesAskedFor) {
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    for (const auto pages : {Pages::small, Pages::huge}) {
      const auto found =
          measure_read_bandwidth(1'000'000, pool, pages, kBriefly);
      EXPECT_GE(found.bytes, 1'000'000u);
      EXPECT_LT(found.bytes, 1'000'000u + 512 * (threads + 1));
      EXPECT_EQ(found.threads, threads);
      EXPECT_EQ(found.pages, pages);
      EXPECT_GT(found.median_gb_per_s, 0);
      EXPECT_GE(found.best_gb_per_s, found.median_gb_per_s);
    }
  }
}

TEST(LimitsTest, ReadsSomethingOfNothing) {
  ThreadPool pool(1);
  EXPECT_GT(measure_read_bandwidth(0, pool, Pages::small, 0).bytes, 0u);
}

TEST(LimitsTest, MeasuresTheUnitsThatMayBeUsed) {
  ThreadPool pool(1);
  const auto peaks = measure_unit_peaks(pool, kBriefly);
  for (const auto& peak : peaks) {
    EXPECT_LE(peak.isa, active_isa());
    EXPECT_TRUE(is_supported(peak.isa));
    EXPECT_GE(peak.best_gop_per_s, peak.median_gop_per_s);
    // No unit that multiplies is slower than one operation a microsecond.
    EXPECT_GT(peak.median_gop_per_s, 1e-3);
  }
  const auto floats = std::ranges::count_if(
      peaks, [](const auto& peak) { return peak.type == "float32"; });
  EXPECT_GE(floats, 1);
}

}  // namespace
}  // namespace llamlx
