#include "terminal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace llamlx {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(TerminalTest, DurationsAreReadAtAGlance) {
  EXPECT_EQ(human_duration(0.0004), "0 ms");
  EXPECT_EQ(human_duration(0.85), "850 ms");
  EXPECT_EQ(human_duration(0.9996), "1.0 s");
  EXPECT_EQ(human_duration(4.24), "4.2 s");
  EXPECT_EQ(human_duration(42), "42 s");
  EXPECT_EQ(human_duration(59.6), "1 min 00 s");
  EXPECT_EQ(human_duration(200), "3 min 20 s");
  EXPECT_EQ(human_duration(3900), "1 h 05 min");
}

TEST(TerminalTest, ProgressTellsShareRateAndTimeLeft) {
  const auto line = progress_line("Saving", 50'000'000, 200'000'000, 5, 100);
  EXPECT_THAT(line, HasSubstr("25%"));
  EXPECT_THAT(line, HasSubstr("50.0 MB of 200 MB"));
  EXPECT_THAT(line, HasSubstr("10.0 MB/s"));
  EXPECT_THAT(line, HasSubstr("15 s left"));
  EXPECT_THAT(line, HasSubstr("[########"));
}

TEST(TerminalTest, ProgressFitsEveryScreen) {
  for (int columns = 0; columns < 120; ++columns) {
    const auto line = progress_line("Saving", 50, 200, 5, columns);
    EXPECT_LE(line.size(), static_cast<std::size_t>(columns));
  }
}

TEST(TerminalTest, ProgressOfNothingIsNoNumberOutOfRange) {
  const auto line = progress_line("Saving", 0, 0, 2, 100);
  EXPECT_THAT(line, HasSubstr("0%"));
  EXPECT_THAT(line, Not(HasSubstr("nan")));
}

TEST(TerminalTest, ProgressNeverPassesItsEnd) {
  EXPECT_THAT(progress_line("Saving", 300, 200, 2, 100), HasSubstr("100%"));
}

TEST(TerminalTest, NoColoursOutsideTerminals) {
  // Tests run with their output captured.
  if (is_terminal(1)) GTEST_SKIP() << "standard output is a terminal";
  EXPECT_FALSE(has_colour());
  EXPECT_EQ(coloured(Colour::red, "no"), "no");
}

TEST(ShareLineTest, TellsTheTimeLeft) {
  EXPECT_EQ(share_line("bench: pp512", 0.25, 10, 80),
            "bench: pp512 [########......................] 25%  30 s left");
  EXPECT_EQ(share_line("bench:", 0, 10, 80).substr(0, 8), "bench: [");
}

TEST(ShareLineTest, FitsTheColumns) {
  EXPECT_EQ(share_line("bench: pp512", 0.5, 10, 20).size(), 20u);
}

}  // namespace
}  // namespace llamlx
