#include "table.h"

#include <gtest/gtest.h>

namespace llamlx {
namespace {

TEST(TableTest, LabelsStandLeftAndFiguresRight) {
  EXPECT_EQ(format_table({{"", "A", "B"},
                          {"on disk", "271 MB", "78 MB"},
                          {"load", "1 s", "10 s"}}),
            "              A      B\n"
            "on disk  271 MB  78 MB\n"
            "load        1 s   10 s\n");
}

TEST(TableTest, RowsMayBeShort) {
  EXPECT_EQ(format_table({{"a", "1", "x"}, {}, {"long"}}),
            "a     1  x\n\nlong\n");
  EXPECT_EQ(format_table({}), "");
}

TEST(TableTest, CountsCharactersAndKeepsControlsAway) {
  EXPECT_EQ(
      format_table({{"\xc3\xa9\xc3\xa9", "1"}, {"a", "2"}, {"\x1b", "3"}}),
      "\xc3\xa9\xc3\xa9  1\na   2\n?   3\n");
}

}  // namespace
}  // namespace llamlx
