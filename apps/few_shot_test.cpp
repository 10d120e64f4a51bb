#include "few_shot.h"

#include <gtest/gtest.h>

#include "base/testing.h"

namespace llamlx {
namespace {

TEST(FewShotTest, StripsWhatPythonStrips) {
  const testing::TemporaryFolder folder;
  const auto text_of = [&](const std::string& content) {
    return FewShotPrompt::read(folder.write("few.txt", content)).text();
  };
  EXPECT_EQ(text_of(" \t\r\n\x1c\x1f\v\f a b \n c\xc2\xa0\xe3\x80\x80\xc2\x85"),
            "a b \n c");
  // Zero-width spaces and the byte order mark are no white space.
  EXPECT_EQ(text_of(" \xe2\x80\x8b "), "\xe2\x80\x8b");
  EXPECT_EQ(text_of("\xef\xbb\xbf x"), "\xef\xbb\xbf x");
  EXPECT_EQ(text_of(" \n "), "");
  EXPECT_EQ(text_of(""), "");
}

TEST(FewShotTest, ReadsLineEndsOfEverySystem) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("few.txt", "a\r\nb\rc\n\r\nd\r\n");
  EXPECT_EQ(FewShotPrompt::read(file).text(), "a\nb\nc\n\nd");
}

TEST(FewShotTest, RefusesWhatIsNoText) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("few.txt", "caf\xe9");
  testing::error_of(ErrorCode::corrupt_file,
                    [&] { FewShotPrompt::read(file); });
  testing::error_of(ErrorCode::not_found, [&] {
    FewShotPrompt::read(folder.path() / "missing.txt");
  });
}

TEST(FewShotTest, PutsTheQuestionInEveryPlace) {
  const FewShotPrompt prompt("{} and {}{}");
  EXPECT_TRUE(prompt.has_place());
  EXPECT_EQ(prompt.fill("x"), "x and xx");
  EXPECT_EQ(prompt.fill("{}"), "{} and {}{}");
  EXPECT_EQ(prompt.fill(""), " and ");
  EXPECT_EQ(FewShotPrompt("{{}}").fill("x"), "{x}");
  EXPECT_EQ(FewShotPrompt("none").fill("x"), "none");
  EXPECT_FALSE(FewShotPrompt("none { }").has_place());
}

}  // namespace
}  // namespace llamlx
